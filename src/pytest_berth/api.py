"""What a service, a source and a running server are: the protocols between the parts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    import pytest

    from pytest_berth.config.options import Option, Settings
    from pytest_berth.errors import BerthError


@dataclass(frozen=True)
class Credentials:
    """The administrator's account of a server.

    Attributes:
        user: Name of the account.
        password: Its password.
        database: The administrator's own database.
        fixed: Name of the database that tests work in, where the settings fix it.
        chosen: Whether the settings have chosen the password, which may be a common word.
        token: What tells the server from others where its account does not, as that can be
            another's as well; empty else.
        given: Whether the settings fix any of the names or the port.
    """

    user: str
    password: str = field(repr=False)
    database: str
    fixed: str = ""
    chosen: bool = False
    token: str = ""
    given: bool = False


@dataclass(frozen=True)
class Server:
    """A server that answers, as every process of a run knows it.

    Attributes:
        service: Name of its service, such as ``"postgres"``.
        source: Where it came from: ``"external"``, ``"container"`` or ``"local"``.
        host: Host name or address, or the directory of a unix socket.
        port: TCP port.
        credentials: The administrator's account.
        version: Version that the server reports.
        detail: Image, directory of the binaries, or URL without password.
        reason: Why this source was taken.
        started_in: Seconds from launch to the first answered connection.
        parameters: Further connection parameters, such as ``sslmode``.
        handle: What its source needs to stop it and to read its log.
        slot: Empty for the run's server; else whose own it is, such as ``"gw0"``.
        restarts: How many servers were lost before it in its place.
        snapshot: What its data is kept as for later runs; empty where it is not.
        thawed: Whether it has started from such data.
        kept: What it is known as to later runs, which may take it over; empty where none may.
        adopted: Whether an earlier run has started it.
    """

    service: str
    source: str
    host: str
    port: int
    credentials: Credentials
    version: str = ""
    detail: str = ""
    reason: str = ""
    started_in: float = 0.0
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)
    handle: Mapping[str, Any] = field(default_factory=dict, repr=False)
    slot: str = ""
    restarts: int = 0
    snapshot: str = ""
    thawed: bool = False
    kept: str = ""
    adopted: bool = False

    @property
    def key(self) -> str:
        """The name that no other server of the run has."""
        return key(self.service, self.slot)

    def __str__(self) -> str:
        """Return the line that tells of the server: what it is, where it runs, why there."""
        took = f" ready in {self.started_in:.2f} s" if self.handle else ""
        again = ", in the place of a lost one" if self.restarts else ""
        kept = ", kept by an earlier run" if self.adopted else ""
        return (
            f"{self.service} {self.version}{took}: {self.source}, {self.detail}{kept},"
            f" at {self.host}:{self.port} ({self.reason}{again})"
        )


def key(service: str, slot: str) -> str:
    """Return the name of a service's server in a run: ``"redis"``, ``"redis-gw0"``."""
    return f"{service}-{slot}" if slot else service


class Progress(Protocol):
    """Tells a waiting user what is going on."""

    def note(self, text: str) -> None:
        """Print a line."""

    def update(self, label: str, done: int, total: int | None) -> None:
        """Show that *done* of *total* bytes are there; equal numbers end the bar."""


@dataclass(frozen=True)
class KeptFile:
    """The one file of a container that a snapshot has to hold for another to start from it.

    Attributes:
        path: Absolute path of the file, once the server is ready.
        identity: What decides on its contents, besides the image.
        start: How a container starts from the contents.
    """

    path: str
    identity: str
    start: Callable[[bytes], ContainerSpec]


@dataclass(frozen=True)
class ContainerSpec:
    """How a service runs in a container.

    Attributes:
        image: Image name with tag.
        port: TCP port inside the container.
        environment: Environment variables; never secrets, as the engine shows them.
        command: Arguments for the image's entry point.
        files: Contents by absolute path, there before the start.
        in_memory: Directories that are kept in memory: what is thrown away need not reach a disk.
            With snapshots they are on disk, in the image that the snapshot is.
        late_files: Contents by absolute path, there as soon as the address is known under which the
            container is reached; in the order given.
        kept_file: What a snapshot holds; None where that is the whole container.
    """

    image: str
    port: int
    environment: Mapping[str, str]
    command: Sequence[str]
    files: Mapping[str, bytes] = field(repr=False)
    in_memory: Sequence[str] = ()
    late_files: Callable[[str, int], Mapping[str, bytes]] | None = None
    kept_file: KeptFile | None = None


@dataclass(frozen=True)
class LocalSpec:
    """How a service runs as a process of this machine.

    Attributes:
        version: Version of the binaries.
        detail: Where the binaries are.
        prepare: Commands that run to their end before the server is launched.
        data: What these make, relative to the server's directory, and what a snapshot keeps.
        command: The server itself.
        files: Contents by path relative to the server's directory, there before ``prepare``.
        stop_signal: Name of the signal that ends the server at once, data may be lost.
        after: A command that is launched when the server has been stopped, and not waited for.
        clean_signal: Name of the signal that ends the server so that its data is complete.
    """

    version: str
    detail: str
    prepare: Sequence[Sequence[str]]
    command: Sequence[str]
    files: Mapping[str, bytes] = field(repr=False)
    stop_signal: str = "SIGTERM"
    after: Sequence[str] = ()
    data: str = ""
    clean_signal: str = "SIGTERM"


@dataclass(frozen=True)
class LocalRequest:
    """What a service is told when it is to describe a local launch.

    Attributes:
        directory: The server's own directory.
        port: TCP port to listen on, on the loopback interface.
        credentials: The administrator's account.
        progress: Where to tell about downloads.
        further_port: Reserves another port at each call.
    """

    directory: Path
    port: int
    credentials: Credentials
    progress: Progress
    further_port: Callable[[], int]


class Service(Protocol):
    """A kind of server: what it is, independently of where it runs.

    Attributes:
        name: ``"postgres"``.
        prefix: What its settings, markers and placeholders begin with: ``"pg"``.
        extra: The extra of this package with its drivers.
        packages: The modules which that extra brings.
        options: Its ini options.
        source: The option that names its source.
        scope: The option that says who shares a server: ``run``, ``worker`` or ``test``; None
            where it is always the run.
        port: The option that fixes the server's port; None where there is none.
        own: For a test that has something of its own, what each fixture is replaced by.
        own_by: The option, and argument of the marker, that asks for it, and the value that does;
            None where that is the scope, and the value ``test``.
        snapshots: Whether the data of an initialised server is worth keeping.
        keeps: Whether a server can be cleaned so thoroughly that a later run may take it over.
        claims: Whether `values` takes something on the server that `release` gives back.
        usual_start: Seconds that a start takes, roughly: the slowest service is begun first, and
            the modules that need it come last.
        fixture_module: The module of its fixtures, registered as a pytest plugin.
        slate: The function-scoped fixture that gives a test its clean slate.
        late_slate: The same for tests that may ask for fixtures only while they run.
        fixtures: Names of the fixtures whose use means that the server is needed.
        placeholders: Names of the values that ``berth_export`` may use.
    """

    name: str
    prefix: str
    extra: str
    packages: tuple[str, ...]
    options: tuple[Option[Any], ...]
    source: Option[str]
    scope: Option[str] | None
    port: Option[int] | None
    own: Mapping[str, str]
    own_by: tuple[Option[str], str] | None
    snapshots: bool
    keeps: bool
    claims: bool
    usual_start: float
    fixture_module: str
    slate: str
    late_slate: str
    fixtures: frozenset[str]
    placeholders: frozenset[str]

    def credentials(self, settings: Settings) -> Credentials:
        """Return the account of a server to be started: a new one, unless the settings fix it."""

    def container(self, settings: Settings, credentials: Credentials) -> ContainerSpec:
        """Describe the container."""

    def local_obstacle(self, settings: Settings) -> BerthError | None:
        """Tell why no binaries can be had here; None when they can."""

    def local(self, settings: Settings, request: LocalRequest) -> LocalSpec:
        """Describe the local process; binaries are fetched where they are not here yet."""

    def local_shape(self, settings: Settings) -> Sequence[str]:
        """Return what makes one local process differ from another: programs and settings."""

    def external(self, settings: Settings) -> Server | None:
        """Return the server that a URL in the settings names; None without one."""

    def probe(self, server: Server) -> str:
        """Connect once and return the server's version.

        Raises:
            NotReadyError: It does not answer yet.
            StartError: It will never be ready, for instance because another server answers.
        """

    def own_log(self, log: str, server: Server, run_id: str, worker: str) -> str:
        """Leave out of a server's log what other workers' tests have caused."""

    def release(self, server: Server, run_id: str) -> None:
        """Remove from a server that lives on what a run has created there."""

    def set_password(self, server: Server, password: str) -> None:
        """Give the administrator of a running server another password."""

    def strip(self, server: Server, run_id: str) -> bool:
        """Leave on a server only what later runs can use.

        Returns:
            Whether that is more than the server began with, and nothing else is left.
        """

    def condition(self, server: Server) -> Sequence[str]:
        """Describe what tests can change on a server of ours, but for what later runs can use.

        A kept server must be in the same condition again before another run may have it.
        """

    def renew(
        self, server: Server, run_id: str, condition: Sequence[str], password: str
    ) -> Sequence[str]:
        """End what is connected to a server of ours, and remove what was not there at its start.

        Args:
            server: The server, which `probe` has just told from others at its address.
            run_id: The run that has used it.
            condition: What was there.
            password: The administrator's from now on, where there is one.

        Returns:
            The condition that it is in now.
        """

    def check(self, items: Sequence[pytest.Item]) -> None:
        """Check everything that is written about the service for the selected tests.

        Raises:
            SettingsError: A marker, a path, a module or an attribute is wrong.
        """

    def load_drivers(self) -> None:
        """Import its packages, as far as `prepare` does so, too; they are there."""

    def load(self, items: Sequence[pytest.Item], *, starts: bool) -> None:
        """Import what else its tests need.

        Args:
            items: The selected tests that need it.
            starts: Whether its server is to be started; else an earlier run has left it.
        """

    def prepare(self, server: Server, item: pytest.Item) -> None:
        """Do ahead, in a thread of its own, what tests need on the server and no fixture settles.

        Args:
            server: The server, which answers.
            item: A test that needs it.
        """

    def isolation(self, item: pytest.Item) -> str:
        """Describe how a test gets its clean slate, and why so."""

    def values(self, server: Server, run_id: str, worker: str) -> Mapping[str, object]:
        """Return the values of the placeholders that ``berth_export`` may use."""

    def further_placeholders(self, settings: Settings) -> frozenset[str]:
        """Return the names of further ones, which depend on the settings."""

    def further_values(
        self, server: Server, run_id: str, worker: str, settings: Settings
    ) -> Mapping[str, object]:
        """Return the values of the further ones."""


class Source(Protocol):
    """A place that servers come from."""

    name: str

    def load(self) -> None:
        """Import what a start takes."""

    def obstacle(self, service: Service, progress: Progress) -> BerthError | None:
        """Tell why it cannot serve; None when it can."""

    def plan(self, service: Service, credentials: Credentials, *, fixed: bool) -> Server:
        """Describe the server to be.

        Args:
            service: What is to be launched.
            credentials: The administrator's account to be.
            fixed: Whether the address must be settled now, before the start. The host stays
                empty where even so it cannot be known.
        """

    def start(self, service: Service, plan: Server, progress: Progress) -> Server:
        """Launch the planned server and return at once, not waiting until it is ready."""

    def stop(self, server: Server) -> None:
        """End the server and remove everything that it had; fine when it is gone already."""

    def keep(self, server: Server) -> None:
        """Keep as a snapshot what later servers can start from; that may end the server."""

    def forget(self, server: Server) -> None:
        """Remove the snapshot that a server has started from."""

    def clear(self, plan: Server) -> None:
        """Remove what is left of a start of this server whose process died half-way."""

    def join(self, server: Server) -> None:
        """Take part in a server that this process uses, as long as the process lives."""

    def identity(self, service: Service) -> Sequence[str] | None:
        """Return what makes one server of this source differ from another.

        Returns:
            Nothing where that is known only after the start; None where none can be had here.
        """

    def sweep(self, spared: Collection[Server] = ()) -> None:
        """Remove everything of this run, whether it was ever told of or not.

        Args:
            spared: Servers that later runs may take over.
        """

    def mark(self, server: Server) -> float:
        """Return the present position in the server's log."""

    def log(self, server: Server, since: float) -> str:
        """Return what the server logged since a mark; 0 is the beginning."""

    def exit_status(self, server: Server) -> str | None:
        """Describe how the server ended; None while it runs or where nobody can tell."""

    def held(self, server: Server) -> str:
        """Describe what keeps the server from answering; empty where nothing is known to."""

    def kill(self, server: Server) -> None:
        """End the server as it is: whoever waits for its answer sees that it is gone."""
