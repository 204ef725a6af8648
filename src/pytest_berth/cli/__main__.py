"""`python -m pytest_berth.cli`: how the reaper calls the command."""

from __future__ import annotations

from pytest_berth.cli import main

if __name__ == "__main__":
    main()
