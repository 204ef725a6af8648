"""What this machine has: server binaries, an engine, an image, and the facts about them."""

from __future__ import annotations

import os
import platform
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING

from docker.errors import ImageNotFound

from pytest_berth.config import options as ini
from pytest_berth.config.options import Setting, Settings
from pytest_berth.errors import BerthError
from pytest_berth.run import xdist
from pytest_berth.run.server_manager import Manager
from pytest_berth.services.postgres import urls
from pytest_berth.services.postgres.options import SETTINGS, VERSION
from pytest_berth.services.postgres.server import binaries
from pytest_berth.services.postgres.service import POSTGRES
from pytest_berth.sources import os_account
from pytest_berth.sources.artifact_cache import cache_directory
from pytest_berth.sources.container import ContainerSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.api import Progress
    from pytest_berth.sources.container_engine import Engine

RYUK = "testcontainers/ryuk"
PACKAGES = (
    "pytest-berth",
    "pytest",
    "pytest-postgresql",
    "pytest-databases",
    "testcontainers",
    "sqlalchemy",
    "psycopg",
)
# A server as PostgreSQL comes, in place of a source.
DISK = "disk"
_AS_IT_COMES = (
    *("fsync=on", "full_page_writes=on", "autovacuum=on"),
    *("wal_recycle=on", "wal_init_zero=on", "log_checkpoints=on"),
)
_STAND_IN = "org.pytest-berth.stand-in"


@dataclass(frozen=True)
class Machine:
    """A machine, as far as a major version of PostgreSQL is concerned.

    Attributes:
        major: The version that every candidate has to serve.
        progress: Where downloads are told.
    """

    major: str
    progress: Progress = field(repr=False)

    @property
    def image(self) -> str:
        """The image that every container is made from."""
        return f"postgres:{self.major}-alpine"

    @cached_property
    def binaries(self) -> Path | None:
        """The directory with the server's programs, fetched if need be; None without any."""
        try:
            found = binaries.find(
                self.major,
                cache=cache_directory(),
                mirror=self.settings("local")[ini.ARTIFACT_MIRROR],
                progress=self.progress,
            )
        except BerthError as error:
            self.progress.note(str(error))
            return None
        return found.directory

    @cached_property
    def pg_ctl(self) -> Path | None:
        """pytest-postgresql's way to a server."""
        return program if self.binaries and (program := self.binaries / "pg_ctl").exists() else None

    @cached_property
    def engine(self) -> Engine | None:
        """The container engine, if it answers and has the image."""
        source = ContainerSource(self.settings("container"), "benchmark")
        obstacle = source.obstacle(POSTGRES, self.progress)
        if obstacle:
            self.progress.note(str(obstacle))
        return None if obstacle else source.engine

    @property
    def has_ryuk(self) -> bool:
        """Whether testcontainers' reaper is here; where it is not, testcontainers needs it off."""
        if self.engine is None:
            return False
        tags = [tag for image in self.engine.client.client.images.list() for tag in image.tags]
        return any(tag.rpartition(":")[0].endswith(RYUK) for tag in tags)

    @property
    def user(self) -> tuple[str, ...]:
        """Words before a command that make it run as a user whom PostgreSQL does not refuse.

        As root, all candidates run as that user, who keeps root's right to enter directories:
        Python itself may be in one of root's own.
        """
        if not os_account.is_root() or not shutil.which("setpriv"):
            return ()
        who = os_account.identity()
        right = "+dac_override"
        return (
            "setpriv",
            *(f"--reuid={who['user']}", f"--regid={who['group']}", "--clear-groups"),
            *(f"--inh-caps={right}", f"--ambient-caps={right}"),
        )

    def settings(self, source: str) -> Settings:
        """Return a run's settings: the defaults, but for the source and the version."""
        options = (*ini.OPTIONS, *POSTGRES.options)
        values = {option.name: Setting(option.default, "default") for option in options}
        values[ini.SOURCE.name] = Setting("local" if source == DISK else source, "benchmarks")
        if source == DISK:
            values[SETTINGS.name] = Setting(_AS_IT_COMES, "benchmarks")
        values[VERSION.name] = Setting(self.major, "benchmarks")
        return Settings(Path.cwd(), values)

    @contextmanager
    def server(self, source: str) -> Iterator[str]:
        """Run a server; yield a database's SQLAlchemy URL.

        Args:
            source: One of berth's, for a server with settings fit for tests; or `DISK`, for one
                with the settings that PostgreSQL comes with, which waits for the disk.
        """
        if source == DISK:
            # Not in memory: a directory that is named is where local servers have their files.
            os.environ.setdefault("TMPDIR", gettempdir())
        manager = Manager(xdist.current_run(), self.settings(source), (POSTGRES,), self.progress)
        try:
            server = manager.server(POSTGRES)
            yield urls.url(server, server.credentials.database)
        finally:
            manager.stop()

    def facts(self) -> dict[str, str]:
        """Return what the figures depend on."""
        return {
            "cores": f"{os.cpu_count()} ({platform.machine()})",
            "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
            "Python": platform.python_version(),
            "engine": self._engine_fact(),
            "image": self._image_fact(),
            "binaries": self.binaries.parent.name if self.binaries else "none",
            "packages": ", ".join(filter(None, map(_installed, PACKAGES))),
            "load before": _load_fact(),
        }

    def _engine_fact(self) -> str:
        if self.engine is None:
            return "none that can serve"
        server = self.engine.client.client.version()
        return f"{server.get('Platform', {}).get('Name') or 'Docker'} {server['Version']}"

    def _image_fact(self) -> str:
        if self.engine is None:
            return "none"
        try:
            image = self.engine.client.client.images.get(self.image)
        except ImageNotFound:
            return f"{self.image}: not here"
        instead = " (a stand-in, not the official image)" if _STAND_IN in image.labels else ""
        return f"{self.image}, {image.attrs['Size'] / 1e6:.0f} MB{instead}"


def describe(source: str) -> str:
    """Say where the server of a measurement is, and what its settings are."""
    if source == DISK:
        return "on one server on the disk, with the settings that PostgreSQL comes with"
    return f"on one server ({source}), with settings fit for tests"


def _load_fact() -> str:
    """Say how busy the machine was with other things: half a core leaves figures alone."""
    recent = os.getloadavg()[0]
    return f"{recent:.1f}{' (busy: the figures are rough)' * (recent > 0.5)}"


def _installed(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return ""
