"""Starts the runs that look for a polluter: each in a process of its own, with its own servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_berth.debug_log import ignoring
from pytest_berth.find_polluter import child_plugin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest

# What a run that was interrupted may take to end its servers; its reaper does it after that.
_ENDS_WITHIN = 30.0
_LINES = 30
# What would end a run before the test, or wait for somebody.
_LEFT_OUT = {
    *("--pdb", "--trace", "-x", "--exitfirst", "--berth-fail-fast"),
    *("--sw", "--stepwise", "--sw-skip", "--stepwise-skip", "--sw-reset", "--stepwise-reset"),
}
_FLAG = "--berth-find-polluter"
_NOT_SHOWN = ("-n", "--numprocesses", "--dist", "--maxfail", "--reruns", "--randomly-seed")
# Flags of plugins, without which they run in parallel, hide the outcome, or write a report.
_OF_PLUGINS = {
    "xdist": ("-n0", "--dist=no"),
    "rerunfailures": ("--reruns=0",),
    "pytest_cov": ("--no-cov",),
    "junitxml": ("--junitxml=",),
}


@dataclass(frozen=True)
class Told:
    """What a run has told.

    Attributes:
        tests: The tests that it has selected, in their order.
        seed: pytest-randomly's seed, where that is installed.
        outcomes: ``passed``, ``failed`` or ``skipped`` by test; a run that died tells none.
        audit: What ``--berth-audit`` has found, by test.
        output: The end of what it has printed.
    """

    tests: Sequence[str] = ()
    seed: int | None = None
    outcomes: Mapping[str, str] = field(default_factory=dict)
    audit: Mapping[str, Sequence[str]] = field(default_factory=dict)
    output: str = ""


class ChildRuns:
    """Runs of the same project with the same settings.

    Args:
        config: The configuration of the command line that asks.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._where = config.invocation_params.dir
        given = map(str, config.invocation_params.args)
        self._given = [each for each in given if each not in _LEFT_OUT]
        has = config.pluginmanager.hasplugin
        self._more = [flag for name, flags in _OF_PLUGINS.items() if has(name) for flag in flags]
        self._more += [
            "--berth-html=",
            "--berth-json=",
            "--maxfail=0",
            "-o",
            "berth_fail_fast=false",
            f"{_FLAG}=",
        ]
        self._seed: list[str] = []

    def collect(self) -> Told:
        """Return the tests that the command line selects, in the order in which it runs them."""
        told = self._run([*self._given, *self._more, "--collect-only"], None)
        if told.seed is not None:
            self._seed = [f"--randomly-seed={told.seed}"]
        return told

    def run(self, tests: Sequence[str], *more: str) -> Told:
        """Run some of these tests, one after the other."""
        return self._run([*self._given, *self._more, *self._seed, *more], tests)

    def run_shown(self, arguments: Sequence[str]) -> Told:
        """Run what `shown` has returned."""
        return self._run([*arguments, "--maxfail=0", f"{_FLAG}="], None)

    def shown(self, tests: Sequence[str], *more: str) -> list[str]:
        """Return the arguments with which a user runs some tests in this order."""
        options = _without(self._given, (_FLAG, *_NOT_SHOWN))
        paths = self._config.known_args_namespace.file_or_dir
        options = [each for each in options if each not in paths and not each.startswith("@")]
        if self._config.getoption("numprocesses", None):
            options.append("-n0")
        if self._config.getoption("reruns", None):
            options.append("--reruns=0")
        if self._seed:
            options += [*self._seed, "--randomly-dont-reorganize"]
        return [*options, *more, *map(self._from_here, tests)]

    def _from_here(self, test: str) -> str:
        """Return a node id, which begins at the root directory, as it is given where we are."""
        root = self._config.rootpath
        if root == self._where:
            return test
        path, colons, rest = test.partition("::")
        return f"{os.path.relpath(root / path, self._where)}{colons}{rest}"

    def _run(self, arguments: Sequence[str], tests: Sequence[str] | None) -> Told:
        with tempfile.TemporaryDirectory(prefix="berth-child-run-") as name:
            directory = Path(name)
            if tests is not None:
                (directory / child_plugin.ASKED).write_text(json.dumps([*tests]), "utf-8")
            own = ["-p", child_plugin.__name__, f"{child_plugin.FLAG}={name}"]
            if "--collect-only" not in arguments:
                own += ["-o", f"cache_dir={directory / 'cache'}"]
            output = directory / "output"
            _finish([sys.executable, "-m", "pytest", *own, *arguments], self._where, output)
            told = directory / child_plugin.TOLD
            found: dict[str, Any] = json.loads(told.read_text("utf-8")) if told.exists() else {}
            lines = output.read_text("utf-8", errors="replace").splitlines()
            return Told(**found, output="\n".join(lines[-_LINES:]))


def _finish(command: Sequence[str], where: Path, output: Path) -> None:
    """Run a command to its end; Ctrl-C ends it, and what it has started, before it goes on."""
    with output.open("wb") as file:
        # In a session of its own, as a terminal's Ctrl-C would reach it and its servers at once.
        child = subprocess.Popen(
            command,
            cwd=where,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            child.wait()
        except BaseException:
            _end(child)
            raise


def _end(child: subprocess.Popen[bytes]) -> None:
    """Let a run tear down what it has; a second Ctrl-C leaves that to its reaper."""
    child.send_signal(signal.SIGINT)
    with ignoring(subprocess.TimeoutExpired, KeyboardInterrupt, why="its reaper ends its servers"):
        child.wait(_ENDS_WITHIN)
    if child.poll() is None:
        child.kill()
        child.wait()


def _without(arguments: Sequence[str], flags: Sequence[str]) -> list[str]:
    """Return arguments without some flags, and their values."""
    left: list[str] = []
    is_value = False
    for each in arguments:
        if is_value or each in flags:
            is_value = not is_value
        elif not each.startswith(tuple(f"{flag}=" for flag in flags)) and not _is_short(each):
            left.append(each)
    return left


def _is_short(argument: str) -> bool:
    """Tell whether an argument is xdist's ``-n4``."""
    return argument.startswith("-n") and argument[2:].isdigit()
