"""What is declared of a service of any image, wherever it is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_berth.config.common_options import RUN, WORKER
from pytest_berth.errors import SettingsError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_berth.services.generic.ready import Check
    from pytest_berth.services.generic.reset import Reset


@dataclass(frozen=True)
class Declaration:
    """A service of any image.

    Attributes:
        name: What its fixtures, placeholders and settings begin with.
        image: The image, with its tag.
        ports: TCP ports inside the container, by name; the first one is the service's own.
        origin: Where it is written.
        ready: What tells that it is ready; None where each port has to answer.
        reset: How it is emptied after each test; None where it is not.
        environment: Environment variables.
        command: Arguments for the image's entry point.
        files: Files of this machine by their path in the container.
        options: Further arguments of docker-py's ``containers.create``.
        depends_on: Services that are ready before it, by the names under which it finds them.
        in_memory: Directories that are kept in memory.
        chosen_scope: Who shares a server, where that is written.
    """

    name: str
    image: str
    ports: Mapping[str, int]
    origin: str
    ready: Check | None = None
    reset: Reset | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    command: tuple[str, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    chosen_scope: str = ""
    in_memory: tuple[str, ...] = ()
    depends_on: Mapping[str, str] = field(default_factory=dict)

    @property
    def first_port(self) -> int:
        """The port that the address of the service is about."""
        return next(iter(self.ports.values()))

    @property
    def scope(self) -> str:
        """Who shares a server: a reset would empty it under other workers' tests.

        One that depends on others works on what they have for this worker.
        """
        return self.chosen_scope or (WORKER if self.reset or self.depends_on else RUN)

    def port(self, name: str | int = "") -> int:
        """Return a port inside the container by its name; the first one without.

        Raises:
            SettingsError: There is none of that name.
        """
        if not str(name):
            return self.first_port
        if str(name) not in self.ports:
            raise SettingsError(
                f"{self.name} has no port {str(name)!r}.",
                why=f"{self.origin} gives it {', '.join(self.ports)}",
                remedy=nearest(str(name), self.ports),
            )
        return self.ports[str(name)]

    def scheme(self, name: str | int = "") -> str:
        """Return the scheme of a port's URL: its name, or ``http`` where that is a number."""
        word = str(name) or next(iter(self.ports))
        return "http" if word.isdigit() else word
