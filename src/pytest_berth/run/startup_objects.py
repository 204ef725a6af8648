"""Keeps Python's garbage collector off what is there before the suite's own code is imported.

The collector goes through all objects several times in a run: once for pytest, which looks for
errors in finalizers, and three times as the interpreter ends. Half of the objects are the modules
of pytest, of its plugins and of Python, and none of them ever becomes garbage: left out, they save
a run with one test a tenth of a second.

They are found no more by `gc.get_objects`, so `all_objects` takes them in again first: a plugin of
the suite's own may have made a pool of connections as it was imported.

Where pytest is called by another program, the objects are that program's, and stay as they are.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import Any

_PROGRAMS = {"pytest", "py.test", "pytest.exe", "py.test.exe"}


def leave_out() -> None:
    """Leave all present objects out of later collections, if they are pytest's own."""
    if hasattr(gc, "freeze") and not gc.get_freeze_count() and _is_pytests_process():
        gc.freeze()


def all_objects() -> list[Any]:
    """Return all objects that the garbage collector knows, also those that were left out."""
    if hasattr(gc, "freeze") and gc.get_freeze_count():
        gc.unfreeze()
    return gc.get_objects()


def _is_pytests_process() -> bool:
    """Tell whether this process was started to run these tests, and has not begun to."""
    if os.environ.get("PYTEST_CURRENT_TEST"):
        return False  # a test that runs pytest
    if "PYTEST_XDIST_WORKER" in os.environ:
        return True
    main = sys.modules["__main__"]
    module, path = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if module is not None:
        return bool(module.name == "pytest.__main__")
    return os.path.basename(path or "") in _PROGRAMS  # noqa: PTH119
