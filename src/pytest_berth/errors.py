"""Every error a user can meet: what happened, why, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST_CAUSES = 20


class BerthError(Exception):
    """Base of all errors of this plugin.

    Args:
        what: One sentence: what happened.
        why: The value that was found, and where it was set.
        remedy: What to do next: the exact command or ini line.
    """

    def __init__(self, what: str, *, why: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.remedy = remedy

    def __str__(self) -> str:
        lines = [self.what]
        lines += _part("  why: ", self.why)
        lines += _part("  do:  ", self.remedy)
        return "\n".join(lines)


class SettingsError(BerthError):
    """A setting, marker argument or path is wrong; raised before the first test."""


class MissingExtraError(BerthError):
    """A Python package that a service or source needs is not installed."""

    def __init__(self, package: str, extra: str, *, needed_by: str) -> None:
        super().__init__(
            f"{needed_by} needs the package {package!r}, which is not installed.",
            remedy=f'pip install "pytest-berth[{extra}]"' if extra else f"pip install {package}",
        )


def require_package(package: str, extra: str, *, needed_by: str) -> None:
    """Require that a Python package is installed, without importing it.

    Args:
        package: Its name, as it is imported.
        extra: The extra that brings it.
        needed_by: What needs it, such as a fixture.

    Raises:
        MissingExtraError: It is not installed.
    """
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise MissingExtraError(package, extra, needed_by=needed_by)


class PackageError(BerthError):
    """A Python package is too old for what is asked of it, or lacks its driver."""


class ServiceError(BerthError):
    """A service cannot be loaded: what has brought it is broken, or does not fit."""


class NoSourceError(BerthError):
    """No source can serve a service (or the one asked for by name cannot)."""


class StartError(BerthError):
    """A server was launched but did not become ready, or could not be launched."""


class RunEndedError(StartError):
    """The run has no use for the server any more; another process of it may still have."""

    def __init__(self) -> None:
        super().__init__(
            "the run has ended while a server was being started.",
            why="the process that owns the run is gone, or has ended it",
            remedy="run pytest again",
        )


class TimedOutError(StartError):
    """A server did not answer within the time that it was given."""


class NotReadyError(BerthError):
    """A server does not answer yet; asking again may help."""


class ArtifactError(BerthError):
    """Server binaries could not be downloaded, checked or unpacked."""


class SchemaError(BerthError):
    """A line of the schema or of the seeds failed."""


class IsolationError(BerthError):
    """A clean slate could not be given, or a test broke out of its isolation."""


class NotRestoredError(IsolationError):
    """A server cannot be made as it was before a test; one that berth has started is replaced."""


class NotKeptError(BerthError):
    """The state of a failed test cannot stay; its summary says why."""


class DevelopmentError(BerthError):
    """The development servers of a project are not up, or not as they are asked for."""


class RecordError(BerthError):
    """A record of a topic cannot be read as what a test took it for."""


class NotOursError(BerthError):
    """A destructive step was refused: the database is not provably ours."""


def together(problems: Iterable[SettingsError]) -> SettingsError | None:
    """Return one error that tells all problems, each kind of mistake once; None without any."""
    found: dict[tuple[str, str], list[SettingsError]] = {}
    for problem in problems:
        alike = found.setdefault((problem.what, problem.remedy), [])
        if problem.why not in [each.why for each in alike]:
            alike.append(problem)
    told = [_with_count(*alike) for alike in found.values()]
    if len(told) <= 1:
        return told[0] if told else None
    return SettingsError("\n\n".join(map(str, told)))


def _with_count(first: SettingsError, *further: SettingsError) -> SettingsError:
    why = f"{first.why}, and {len(further)} more times" if further else first.why
    return SettingsError(first.what, why=why, remedy=first.remedy)


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the valid name nearest to *name*, or all valid names."""
    import difflib

    names = sorted(valid)
    match = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if match:
        return f"did you mean {match[0]!r}?"
    return f"use one of: {', '.join(names)}"


def _part(label: str, text: str) -> list[str]:
    labels = [label, *[" " * len(label)] * text.count("\n")]
    return [before + line for before, line in zip(labels, text.splitlines(), strict=False)]


def causes(error: BaseException) -> list[BaseException]:
    """Return an error, those in its group, and those that it was raised from or because of."""
    found, waiting = list[BaseException](), [error]
    while waiting and len(found) < _MOST_CAUSES:
        each = waiting.pop(0)
        if not any(each is other for other in found):
            found.append(each)
            waiting += getattr(each, "exceptions", ())
            context = None if each.__suppress_context__ else each.__context__
            waiting += filter(None, (each.__cause__, context))
    return found
