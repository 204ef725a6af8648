"""What ``--berth-find-polluter NODEID`` does in the place of running tests, and what it tells.

The test must pass alone and fail after all that run before it: only then is one of these to blame.
"""

from __future__ import annotations

import difflib
import math
import os
import shlex
from typing import TYPE_CHECKING

import pytest

from pytest_berth.errors import SettingsError
from pytest_berth.find_polluter.child_runs import ChildRuns, Told
from pytest_berth.find_polluter.smallest_set import NodeIds, smallest_set
from pytest_berth.run.plugin_state import PLUGIN_STATE

if TYPE_CHECKING:
    from collections.abc import Sequence

FOUND, NOT_FOUND = pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED
_MOST_NAMES, _MOST_LEFT = 3, 15


def find(config: pytest.Config, wanted: str) -> pytest.ExitCode:
    """Find the polluters of a test, and print what is found.

    Returns:
        0 where they are found, 1 where no earlier test is to blame or the outcomes contradict each
        other, 2 after Ctrl-C.

    Raises:
        pytest.UsageError: There is no such test.
    """
    berth = config.stash.get(PLUGIN_STATE, None)
    if berth:
        berth.end()  # What was planned for this process; each run has its own.
    try:
        return Search(config, wanted).run()
    except KeyboardInterrupt:
        _say("interrupted; what the last run had started is ended")
        return pytest.ExitCode.INTERRUPTED


class Search:
    """The search for what makes one test fail.

    Args:
        config: The configuration of the command line that asks.
        wanted: The test's node id, as it was given.
    """

    def __init__(self, config: pytest.Config, wanted: str) -> None:
        self._config = config
        self._wanted = wanted
        self._runs = ChildRuns(config)
        self._count = 0
        self._last = Told()
        self.test = ""

    def run(self) -> pytest.ExitCode:
        """Collect, try the test alone and after all others, and look for the smallest set."""
        _say("collecting what this command line would run, in its order")
        collected = self._runs.collect()
        if not collected.tests:
            return self._stop("nothing was collected", told=collected)
        self.test = self._known(collected.tests)
        earlier = tuple(collected.tests[: collected.tests.index(self.test)])
        if not earlier:
            return self._stop(f"{self.test} is the first test: nothing runs before it")
        obstacle = self._obstacle(earlier)
        if obstacle:
            return self._stop(obstacle, told=self._last)
        return self._tell(smallest_set(earlier, self._narrowed))

    def _known(self, tests: Sequence[str]) -> str:
        """Return the test's node id, which may be given as seen from where pytest was called."""
        path, colons, rest = self._wanted.partition("::")
        absolute = os.path.normpath(self._config.invocation_params.dir / path)
        from_root = os.path.relpath(absolute, self._config.rootpath).replace(os.sep, "/")
        for name in (self._wanted, f"{from_root}{colons}{rest}"):
            if name in tests:
                return name
        near = difflib.get_close_matches(self._wanted, tests, n=_MOST_NAMES, cutoff=0.4)
        error = SettingsError(
            f"no test {self._wanted!r} is run by this command line.",
            why=f"it is given to --berth-find-polluter, and {_counted(len(tests))} are collected",
            remedy=f"did you mean {' or '.join(map(repr, near))}?"
            if near
            else "take its name from `pytest --collect-only -q` with the same arguments",
        )
        raise pytest.UsageError(str(error))

    def _obstacle(self, earlier: NodeIds) -> str:
        """Return why no earlier test can be found to blame; empty where one can."""
        outcome = self._outcome((), "alone")
        if outcome == "failed":
            if self._outcome((), "alone, once more") == "passed":
                return "it fails and passes alone: no earlier test decides, but time or chance does"
            told = self._runs.run_shown(self._runs.shown([self.test]))
            if told.outcomes.get(self.test) == "passed":
                return (
                    f"it passes by `pytest {shlex.quote(self.test)}`, and fails alone where all"
                    " other test modules are collected, too: no test breaks it, but an import"
                )
            return "it fails alone, so that no earlier test is to blame"
        if outcome != "passed":
            return f"it cannot be told apart: alone, it {_spelt(outcome)}"
        outcome = self._outcome(earlier, "after all that run before it")
        if outcome == "failed":
            return ""
        if self._outcome(earlier, "after all that run before it, once more") == "failed":
            return "it passes and fails after the same tests: not they decide, but time or chance"
        return (
            "it passes after all that run before it: give the order in which it has failed, by"
            " paths or node ids on the command line or in a file (`pytest @order.txt`), or by the"
            " same seed; with xdist, each worker has an order of its own"
        )

    def _narrowed(self, tests: NodeIds, left: int) -> bool:
        """Tell whether the test fails after some tests."""
        runs = math.ceil(math.log2(left))
        more = (
            f"{_counted(left)} to choose from, about {_counted(runs, 'run')} to go" if runs else ""
        )
        return self._outcome(tests, f"after {_counted(len(tests))}", more) == "failed"

    def _outcome(self, before: NodeIds, where: str, more: str = "") -> str:
        self._last = self._runs.run([*before, self.test])
        self._count += 1
        outcome = self._last.outcomes.get(self.test, "")
        told = f"run {self._count}: {where}, it {_spelt(outcome)}"
        _say(f"{told} ({more})" if more else told)
        return outcome

    def _tell(self, polluters: NodeIds) -> pytest.ExitCode:
        """Show what was found, with a command that has been seen to show it, and what is left."""
        tests = [*polluters, self.test]
        again = self._runs.run(tests, "--berth-audit=report")
        if again.outcomes.get(self.test) != "failed":
            return self._stop(
                "it has failed after these, and passes after them when that is run again:"
                " something else decides, such as time, chance or a thread",
                *polluters,
            )
        verb = "breaks" if len(polluters) == 1 else "together break"
        _say(f"found: {verb} {self.test}:", *polluters)
        command = self._command(tests)
        if command:
            *first, last = command
            told = " ".join(map(shlex.quote, first))
            _say("to see it:", f"pytest {told} \\", f"    {shlex.quote(last)}")
        else:
            _say(
                "a command line with these node ids alone does not show it: other modules have to"
                " be collected, too"
            )
        left = [line for each in polluters for line in again.audit.get(each, ())]
        if left:
            _say("what it leaves behind, by --berth-audit:", *_bounded(left))
        else:
            _say(
                "no difference in a server: look at what it leaves in the process, such as globals"
                " of modules, patched objects, the environment"
            )
        return FOUND

    def _command(self, tests: Sequence[str]) -> list[str]:
        """Return arguments of pytest by which the test was seen to fail."""
        for more in ((), ("-o", "berth_order=none")):
            arguments = self._runs.shown(tests, *more)
            told = self._runs.run_shown(arguments)
            if list(told.tests) == list(tests):
                return arguments if told.outcomes.get(self.test) == "failed" else []
        return []

    def _stop(self, text: str, *lines: str, told: Told | None = None) -> pytest.ExitCode:
        """Say why nothing is found, with the end of what a run has printed."""
        _say(f"nothing found: {text}", *lines)
        if told:
            print(told.output)
        return NOT_FOUND


def _say(text: str, *lines: str) -> None:
    print(f"berth: {text}", *(f"  {line}" for line in lines), sep="\n", flush=True)


def _counted(number: int, noun: str = "test") -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"


def _spelt(outcome: str) -> str:
    told = {"passed": "passes", "failed": "fails", "skipped": "is skipped"}
    return told.get(outcome, "does not run to its end")


def _bounded(lines: Sequence[str]) -> list[str]:
    if len(lines) <= _MOST_LEFT:
        return [*lines]
    return [*lines[:_MOST_LEFT], f"... {len(lines) - _MOST_LEFT} more"]
