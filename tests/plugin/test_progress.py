"""What is shown while somebody waits: live lines on a terminal, plain ones elsewhere."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Project

# A line of the schema that lasts until somebody has seen it on the screen.
SLOW = """
    import pathlib

    from pytest_berth import wait_for

    wait_for(pathlib.Path("seen").exists, 120, message="the line on the screen")
"""
TESTS = """
    def test_unit(): pass

    def test_it(pg_connection): pass
"""
SHOWN = "berth: postgres: schema and seeds: "


@pytest.fixture
def slow(project: Project, require_source: Callable[[str], None]) -> Project:
    """A project whose schema takes as long as `shown` wants."""
    require_source("local")
    project.write(slow=SLOW, test_it=TESTS)
    project.ini("berth_source = local", f"berth_pg_schema = command: {sys.executable} slow.py")
    return project


def test_a_terminal_has_a_live_line_that_is_gone_afterwards(slow: Project) -> None:
    here, terminal = pty.openpty()
    text = watched(slow, terminal, lambda: os.read(here, 65536), TERM="xterm", COLUMNS="200")
    os.close(here)
    assert f"{SHOWN}command: {sys.executable} slow.py" in text
    assert "berth: postgres: starting (local)" in text
    # Each line that stays begins anew where a line was that is erased by then.
    assert "\x1b[2K" in text[text.rindex(SHOWN) :].partition("2 passed")[0]
    assert "2 passed" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h")


def test_elsewhere_what_takes_long_is_a_plain_line(slow: Project) -> None:
    # What a line is due after, which else takes seconds.
    slow.conftest("from pytest_berth.reporting import progress\nprogress._TELL_AFTER = 0.1\n")
    here, pipe = os.pipe()
    text = watched(slow, pipe, lambda: os.read(here, 65536))
    os.close(here)
    assert f"{SHOWN}command: {sys.executable} slow.py (" in text
    assert "\x1b" not in text
    assert "2 passed" in text


def test_what_pytests_own_thread_does_is_shown_as_well(slow: Project) -> None:
    slow.write(slow=f"def make(connection):\n{textwrap.indent(textwrap.dedent(SLOW), '    ')}")
    slow.ini("berth_source = local", "berth_pg_schema = slow:make")
    here, terminal = pty.openpty()
    text = watched(slow, terminal, lambda: os.read(here, 65536), TERM="xterm", COLUMNS="200")
    os.close(here)
    assert f"{SHOWN}slow:make" in text


def test_what_a_test_redirects_is_still_redirected_when_a_line_has_been_printed(
    project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.ini("berth_source = local")
    project.write(
        test_it="""
        import contextlib
        import io

        def test_redirected(request):
            with contextlib.redirect_stdout(io.StringIO()) as out:
                with contextlib.redirect_stderr(io.StringIO()) as err:
                    request.getfixturevalue("pg_dsn")  # a line says that the server is ready
                    print("told")
                    print("warned", file=__import__("sys").stderr)
            assert (out.getvalue(), err.getvalue()) == ("told\\n", "warned\\n")
        """
    )
    result = project.run()
    result.stdout.fnmatch_lines(["berth: postgres * ready *"])
    result.assert_outcomes(passed=1)


def watched(project: Project, output: int, read: Callable[[], bytes], **environment: str) -> str:
    """Run pytest, let its schema go on when that is on the screen; return all that was there."""
    plain = {key: text for key, text in os.environ.items() if not key.startswith(("PYTEST_", "CI"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *project.arguments()],
        cwd=project.root,
        env={**plain, **environment},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
    )
    os.close(output)
    text = ""
    for chunk in chunks(read):
        text += chunk
        if SHOWN in text:
            (project.root / "seen").touch()
    assert process.wait() == 0, text
    return text


def chunks(read: Callable[[], bytes]) -> Iterator[str]:
    """Yield what a process writes, until it has ended; a terminal tells that by an error."""
    try:
        while data := read():
            yield data.decode(errors="replace")
    except OSError:
        return
