"""While a debugger waits in a test, a second connection can see what the test has done.

What there is to be seen is written down in the run's directory: ``pytest-berth shell --peek``, in
another terminal, finds server and account there.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from pytest_berth.debug_log import debug

if TYPE_CHECKING:
    from pytest_berth.api import Namespace, Server
    from pytest_berth.run.plugin_state import PluginState


def show(berth: PluginState, server: Server, namespace: Namespace) -> None:
    """Ask a namespace for what can be seen, and tell the user how; the debugger opens anyway."""
    path = berth.run.registry.peek(server.service)
    try:
        path.unlink(missing_ok=True)
        name = namespace.peek()
        if not name:
            return
        test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
        told = {"test": test, "server": server.key, "name": name}
        path.write_text(json.dumps(told), "utf-8")
        berth.progress.note(
            f"{server.service}: to see what the test has done so far, in another terminal:"
            " pytest-berth shell --peek"
        )
    except Exception as error:  # whatever it is, the user wants to debug
        debug("%s: no peek: %r", server.service, error)
        said = next(iter(str(error).splitlines()), type(error).__name__)
        berth.progress.note(
            f"{server.service}: a second connection cannot see what the test has done: {said}"
        )
