"""What ``pytest-berth doctor`` looks at: each check yields lines, and none stops another one.

Nothing is downloaded, pulled, started or removed.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from pytest_berth.cli import parts
from pytest_berth.config import options as core_options
from pytest_berth.debug_log import ignoring
from pytest_berth.errors import BerthError, MissingExtraError, nearest
from pytest_berth.services import discovery
from pytest_berth.sources.choose import Sources
from pytest_berth.standalone import project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_berth.api import Service, Source
    from pytest_berth.config.options import Settings
    from pytest_berth.standalone.project import Project

Status = Literal["ok", "warning", "failure"]
_ROOM, _SCARCE = 2 << 30, 256 << 20
_ANSWERS_WITHIN = 2.0


class Line(NamedTuple):
    """What was found at one thing.

    Attributes:
        about: What was looked at: ``"engine"``, ``"postgres"``.
        status: Whether it is as it should be.
        text: What was found.
        remedy: What to do; empty where there is nothing to be done.
    """

    about: str
    status: Status
    text: str
    remedy: str = ""


@dataclass
class Checks:
    """The checks of one project.

    Attributes:
        names: The services that are asked for; those that the project uses, when there are none.
    """

    names: Sequence[str] = ()
    _broken: BerthError | None = field(default=None, init=False)

    def lines(self) -> Iterator[Line]:
        """Yield what each check finds; what fails unexpectedly is found to be so."""
        for about, check in self._all():
            try:
                yield from check()
            except BerthError as error:
                yield _failure(about, error)
            except Exception as error:  # told, and the others are still looked at
                text = f"it could not be looked at: {type(error).__name__}: {error}"
                yield Line(about, "failure", text, "see to what is named there")

    def _all(self) -> Iterator[tuple[str, Callable[[], Iterator[Line]]]]:
        yield "versions", self._versions
        yield "settings", self._settings
        yield "engine", self._engine
        for service in self._in_question():
            yield service.name, lambda service=service: self._service(service)  # type: ignore[misc]
        yield "services", self._without_packages
        yield "cache", self._cache
        yield "disk", self._disk
        yield "memory", self._memory
        yield "leftovers", self._leftovers

    @cached_property
    def _project(self) -> Project | None:
        try:
            return project.find()
        except BerthError as error:
            self._broken = error
            return None

    @cached_property
    def _values(self) -> Settings:
        if self._project:
            return self._project.settings
        options = (option for each in self._services for option in each.options)
        return core_options.defaults(Path.cwd(), [*core_options.OPTIONS, *options])

    @cached_property
    def _services(self) -> Sequence[Service]:
        return self._project.services if self._project else discovery.find().services

    @cached_property
    def _sources(self) -> Sources:
        return Sources(self._values, "")

    def _in_question(self) -> Sequence[Service]:
        """Return the services that are asked for, that are set, or whose packages are there."""
        if self.names:
            return [each for each in self._services if {each.name, each.prefix} & set(self.names)]
        if self._project:
            return self._project.in_question()
        return [each for each in self._services if not each.missing_package()]

    def _without_packages(self) -> Iterator[Line]:
        """Tell which services are not looked at, where neither settings nor anybody names one."""
        if self.names or (self._project and self._project.used()):
            return
        missing = [each for each in self._services if each.missing_package()]
        if missing:
            names = ", ".join(each.name for each in missing)
            extras = ",".join(dict.fromkeys(each.extra for each in missing if each.extra))
            text = f"not looked at, as their Python packages are not installed: {names}"
            remedy = f'for those that tests are to use: pip install "pytest-berth[{extras}]"'
            yield Line("services", "ok", text, remedy)

    def _versions(self) -> Iterator[Line]:
        python = f"Python {platform.python_version()} on {platform.platform(terse=True)}"
        yield Line("versions", "ok", f"pytest-berth {_version('pytest-berth')}, {python}")
        names = ("pytest", "docker", "testcontainers", "rich", "psutil", "filelock")
        yield Line("versions", "ok", ", ".join(f"{name} {_version(name)}" for name in names))
        for problem in discovery.find().problems:
            yield _failure("versions", problem)
        unknown = set(self.names) - {n for each in self._services for n in (each.name, each.prefix)}
        for name in sorted(unknown):
            known = [each.name for each in self._services]
            yield Line("versions", "failure", f"there is no service {name!r}", nearest(name, known))

    def _settings(self) -> Iterator[Line]:
        found = self._project
        if found is None:
            assert self._broken is not None, "there is no project for that reason"
            yield _failure("settings", self._broken)
            return
        file = found.config.inipath
        if file:
            yield Line("settings", "ok", f"read from {file}")
        else:
            text = (
                f"no pytest.ini, pyproject.toml, tox.ini or setup.cfg is at or above {Path.cwd()}"
            )
            yield Line("settings", "ok", f"{text}: all defaults")
        for problem in found.settings.problems:
            yield _failure("settings", problem)
        wrong = {problem.what.partition(" ")[0] for problem in found.settings.problems}
        for name, setting in found.settings.values.items():
            if setting.origin != "default" and name not in wrong:
                yield Line("settings", "ok", core_options.describe(name, setting))
        if not found.settings.problems:
            found.exported()

    def _engine(self) -> Iterator[Line]:
        from pytest_berth.sources.container_engine import EngineUnreachableError, connect

        try:
            engine = connect()
        except EngineUnreachableError as error:
            said = str(error).splitlines()
            text = f"no container engine answers: {said[0] if said else type(error).__name__}"
            remedy = "start Docker or Podman, or point DOCKER_HOST at an engine"
            yield Line("engine", self._without_engine(), text, remedy)
            return
        told = engine.client.client.version()
        product = (told.get("Platform") or {}).get("Name") or "engine"
        where = engine.client.client.api.base_url
        yield Line("engine", "ok", f"{product} {told.get('Version', '?')} answers at {where}")

    def _without_engine(self) -> Status:
        """Tell how bad it is that no engine answers: where none is wanted, not at all."""
        values = self._values
        wanted = {
            values[each.source] or values[core_options.SOURCE] for each in self._in_question()
        }
        if "container" in wanted:
            return "failure"
        return "warning" if "auto" in wanted else "ok"

    def _service(self, service: Service) -> Iterator[Line]:
        missing = service.missing_package()
        if missing:
            yield _failure(service.name, missing)
        else:
            versions = ", ".join(f"{name} {_version_of_module(name)}" for name in service.packages)
            yield Line(service.name, "ok", f"client: {versions or 'none is needed'}")
        yield from self._port(service)
        able, obstacles = parts.serving(service, self._values, self._sources)
        for source in able[:1]:
            yield from self._taken(service, source)
        for source in able[1:]:
            yield Line(service.name, "ok", f"{source.name} could serve, too")
        for name, obstacle in obstacles:
            why = next(iter(obstacle.why.splitlines()), "")
            text = f"{name} cannot serve: {obstacle.what.rstrip('.')}{f' ({why})' if why else ''}"
            if able:
                yield Line(service.name, "ok", text)
            else:
                yield Line(service.name, "failure", text, obstacle.remedy)

    def _taken(self, service: Service, source: Source) -> Iterator[Line]:
        """Tell what the source that serves would run, and whether it is there already."""
        given = self._values.given(
            service.source if self._values[service.source] else core_options.SOURCE
        )
        begin = f"{source.name} serves ({given}):"
        if source.name == "external":
            yield from self._external(service, begin)
            return
        needed = parts.of(service, source, self._values)
        grouped = parts.together(needed)
        there = ", ".join(each.about for each in grouped if each.is_there)
        absent = [each for each in grouped if not each.is_there]
        if not absent:
            yield Line(service.name, "ok", f"{begin} {there or 'as its service says'}")
            return
        size = sum(each.size for each in absent) / 1e6
        files = ", ".join(each.about for each in absent)
        text = f"{begin} {files}{f', {size:.0f} MB,' if size else ''} to be fetched"
        remedy = f"`pytest-berth install {service.name}` has it ahead of time"
        yield Line(service.name, "warning", text, remedy)

    def _external(self, service: Service, begin: str) -> Iterator[Line]:
        server = service.backend.external(self._values)
        assert server is not None, "the source has seen the URL"
        if service.missing_package():
            return
        where = f"{server.host}:{server.port} ({server.detail})"
        try:
            version = service.backend.probe(server)
        except BerthError as error:
            text = f"{begin} {where} does not answer as it should: {error.what} {error.why}"
            remedy = error.remedy or f"start it, or correct {service.url.name}"
            yield Line(service.name, "failure", " ".join(text.split()), remedy)
            return
        yield Line(service.name, "ok", f"{begin} {where} answers, version {version}")

    def _port(self, service: Service) -> Iterator[Line]:
        from pytest_berth.sources import ports

        port = ports.fixed(service, self._values)
        if not port:
            return
        given = self._values.given(service.port)
        with socket.socket() as client:
            client.settimeout(_ANSWERS_WITHIN)
            is_taken = client.connect_ex(("127.0.0.1", port)) == 0
        if not is_taken:
            yield Line(service.name, "ok", f"{given}: the port is free")
            return
        process = ports.listener(port)
        holder = ports.describe(process, port) if process else "something listens there"
        remedy = f"end what listens there, or leave {service.port.name} out"
        yield Line(service.name, "failure", f"{given}: the port is taken: {holder}", remedy)

    def _cache(self) -> Iterator[Line]:
        from pytest_berth.sources.artifact_cache import CACHE_VARIABLE, cache_directory, stranger

        try:
            place = cache_directory()
        except MissingExtraError as error:
            yield Line("cache", "ok", f"none; local servers that are downloaded: {error.remedy}")
            return
        if not place.exists():
            yield Line("cache", "ok", f"{place}: nothing was downloaded yet")
            return
        found = stranger(place)
        if found:
            remedy = f"remove the rights of others there, or set {CACHE_VARIABLE}=<directory>"
            yield Line("cache", "failure", f"{place} cannot be trusted: {found}", remedy)
        elif not os.access(place, os.W_OK):
            remedy = f"give permission there, or set {CACHE_VARIABLE}=<directory>"
            yield Line("cache", "warning", f"{place} cannot be written to", remedy)
        else:
            count = sum(1 for each in place.iterdir() if each.is_dir())
            yield Line("cache", "ok", f"{place}: {count} director{'y' if count == 1 else 'ies'}")

    def _disk(self) -> Iterator[Line]:
        place = Path(tempfile.gettempdir())
        if not os.access(place, os.W_OK | os.X_OK):
            remedy = "give permission there, or set TMPDIR=<directory>"
            yield Line("disk", "failure", f"{place} cannot be written to", remedy)
            return
        yield _room("disk", f"free in {place}", shutil.disk_usage(place).free, "make room there")

    def _memory(self) -> Iterator[Line]:
        import psutil

        free = psutil.virtual_memory().available
        yield _room("memory", "of memory are available", free, "end what takes most of it")

    def _leftovers(self) -> Iterator[Line]:
        from pytest_berth.run import orphans
        from pytest_berth.sources.container_engine import EngineUnreachableError, connect

        found = [*orphans.directories(Path(tempfile.gettempdir())), *orphans.kept()]
        with ignoring(EngineUnreachableError, why="the engine's own line tells"):
            found += [each for each in orphans.containers(connect()) if each.is_ours]
        dead = [each for each in found if each.state == orphans.DEAD]
        alive = {each.run_id for each in found if each.state == orphans.ALIVE}
        kept = [each for each in found if each.state == orphans.KEPT]
        if dead:
            names = ", ".join(sorted(each.what for each in dead))
            remedy = "pytest-berth prune"
            yield Line("leftovers", "warning", f"dead runs have left {names}", remedy)
        else:
            yield Line("leftovers", "ok", "dead runs have left nothing")
        if alive:
            yield Line("leftovers", "ok", f"runs that are alive: {', '.join(sorted(alive))}")
        for each in kept:
            yield Line("leftovers", "ok", f"kept: {each.what} ({each.about})")


def _failure(about: str, error: BerthError) -> Line:
    text = "\n".join(filter(None, [error.what, error.why]))
    return Line(about, "failure", text, error.remedy)


def _room(about: str, what: str, free: int, remedy: str) -> Line:
    text = f"{free / 1e9:.1f} GB {what}"
    if free >= _ROOM:
        return Line(about, "ok", text)
    return Line(about, "failure" if free < _SCARCE else "warning", text, remedy)


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "is not installed"


def _version_of_module(module: str) -> str:
    found = metadata.packages_distributions().get(module, [module])
    return _version(found[0])
