"""The labels of containers that their source itself sets and reads."""

from __future__ import annotations

# The run's id.
RUN = "org.pytest-berth.run"
# The container that the run itself is in; empty where it is in none.
INSIDE = "org.pytest-berth.inside"
