"""The labels of containers: whose each is, which run it serves, and where that is."""

from __future__ import annotations

import getpass
import os

PREFIX = "org.pytest-berth."
# The run's id.
RUN = f"{PREFIX}run"
# The container that the run itself is in; empty where it is in none.
INSIDE = f"{PREFIX}inside"
# The process that owns the run, as JSON, and its user, host and project.
OWNER = f"{PREFIX}owner"
USER = f"{PREFIX}user"
HOST = f"{PREFIX}host"
PROJECT = f"{PREFIX}project"
# On a network: the servers that a container finds there, as JSON: key by name.
BESIDE = f"{PREFIX}beside"
# Where the records of reused servers are; empty where none is reused.
REUSE = f"{PREFIX}kept"


def user() -> str:
    """Return what `USER` says of the user that this process runs as."""
    return str(os.getuid()) if hasattr(os, "getuid") else getpass.getuser()
