"""Ends a process that a test has forked, and that comes back to pytest.

It would clean up behind the test, run all tests that are left, and end the servers, all of it
beside the process that it was forked from, and on the same connections.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import pytest

_STDERR = 2


def end(item: pytest.Item, raised: pytest.ExceptionInfo[Any] | None) -> NoReturn:
    """End this process, with the status that it would have without pytest.

    What has ended it is written to its standard error.

    Args:
        item: The test that has forked it.
        raised: What the test has raised in it; None where it has returned.
    """
    status = 0
    told = f"berth: a process that {item.nodeid} has forked came back to pytest, and is ended: "
    if raised is None:
        told += "let it end by os._exit()\n"
    elif isinstance(raised.value, SystemExit):
        code = raised.value.code
        status = code if isinstance(code, int) else int(code is not None)
        told = "" if code is None or isinstance(code, int) else f"{code}\n"
    else:
        status = 1
        told += f"it has raised\n{item.repr_failure(raised)}\n"
    os.write(_STDERR, told.encode(errors="replace"))
    os._exit(status)
