"""Serves the application in a process of its own, on a port that is free."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def running(app: str) -> Iterator[str]:
    """Yield the URL. Whoever connects before uvicorn does is in the socket's queue."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd = listener.fileno()
        command = [sys.executable, "-m", "uvicorn", app, f"--fd={fd}"]
        with subprocess.Popen(command, pass_fds=[fd]) as server:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            server.terminate()
