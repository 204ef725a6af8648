"""Waiting for a launched server to answer, with a deadline and its log on failure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_berth.config.options import START_TIMEOUT
from pytest_berth.errors import NotReadyError, StartError, TimedOutError
from pytest_berth.waiting import now, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_berth.api import Progress, Server, Service, Source
    from pytest_berth.config.options import Settings

# It has not answered yet, which is as it should be: why is told where it never does.
_WAITING = "waiting for its first answer"
_LOOK_EVERY = 0.25
_LOG_LINES = 20
# Nobody is starting it now, as far as we know.
_EXTERNAL_ANSWERS_WITHIN = 10.0


def wait_until_ready(
    service: Service,
    source: Source,
    server: Server,
    settings: Settings,
    progress: Progress,
    go_on: Callable[[], None],
) -> str:
    """Poll until the server answers a connection, and return its version.

    Args:
        service: Its kind.
        source: Where it comes from.
        server: What has been launched.
        settings: The run's settings.
        progress: Where to show that it is waited for.
        go_on: Called before each attempt; raises an error when nobody waits any more.

    Raises:
        StartError: It ended; the error shows the end of its log.
        TimedOutError: The deadline passed; the same.
    """
    attempt = _Attempt(service, source, server, settings, progress, go_on)
    within, said = _deadline(server, settings)
    try:
        return wait_for(attempt, within, interval=0.005, max_interval=0.02)
    except TimeoutError:
        raise TimedOutError(
            f"{server.service} at {server.host}:{server.port} did not answer in time.",
            why=f"{said}; {attempt.last}{log_end(source, server)}",
            remedy=f"start it if it is yours, or give it more time: {START_TIMEOUT.name} = 120",
        ) from None


def _deadline(server: Server, settings: Settings) -> tuple[float, str]:
    """Return how many seconds a server has, and who says so."""
    if server.source == "external" and settings.origin(START_TIMEOUT) == "default":
        return _EXTERNAL_ANSWERS_WITHIN, f"{_EXTERNAL_ANSWERS_WITHIN:g} s, as it is there already"
    return settings[START_TIMEOUT], settings.given(START_TIMEOUT)


@dataclass
class _Attempt:
    service: Service
    source: Source
    server: Server
    settings: Settings
    progress: Progress
    go_on: Callable[[], None]
    looked: float = field(default_factory=now)
    last: str = ""

    def __call__(self) -> str:
        self.go_on()
        try:
            version = self.service.backend.probe(self.server)
        except NotReadyError as error:
            self.last = str(error)
            self._look_after()
            return ""
        if self.server.restarts:
            self._fail_if_another_answers()
        return version

    def _look_after(self) -> None:
        at = now()
        if at - self.looked > _LOOK_EVERY:
            self.looked = at
            self._fail_if_ended()
            self.progress.phase(self.server.key, _WAITING)

    def _fail_if_ended(self) -> None:
        status = self.source.exit_status(self.server)
        if status:
            raise StartError(
                f"{self.server.service} ended while it started: {status}.",
                why=log_end(self.source, self.server).strip(),
                remedy="\n".join(self._remedies()),
            )

    def _fail_if_another_answers(self) -> None:
        """Not every service can tell its servers from others that come to a lost one's address."""
        other = self.source.other_listener(self.server)
        if other:
            raise StartError(
                f"another server has taken the port of the {self.server.service} that was lost.",
                why=f"port {self.server.port}: {other}",
                remedy="end it, and run the tests again; nothing was written to it",
            )

    def _remedies(self) -> Iterator[str]:
        yield "the last lines of its log say why"
        for option in self.service.options:
            if option.name == f"berth_{self.service.prefix}_settings" and self.settings[option]:
                yield f"it may be a line of {self.settings.given(option)}"
        if self.server.port:
            yield f"where port {self.server.port} was taken, run again for another"


def log_end(source: Source, server: Server) -> str:
    """Return the last lines of a server's log under a heading, nothing where there are none."""
    lines = source.log(server, 0).strip().splitlines()[-_LOG_LINES:]
    return "\n".join(["", "the end of its log:", *lines]) if lines else ""
