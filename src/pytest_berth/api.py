"""What a service is: all that someone imports who adds one.

There are two halves. A `Service` is the descriptor: it is always loaded, so it is cheap, and tells
names, defaults and where the rest is. A `Backend` is loaded when a selected test needs the service:
it launches servers, asks whether they answer, and opens a `Namespace` for each worker. Three
methods of a backend must be there, `container`, `probe` and `open`; each other one is a capability
whose default says "cannot". ``docs/tutorials/adding-a-service.md`` builds a service step by step.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import quote, unquote, urlsplit

from pytest_berth.config.descriptor import Dedicated, FromCompose, Marker, Service
from pytest_berth.config.options import Option, Setting, Settings, choice, lines, text, words
from pytest_berth.errors import (
    BerthError,
    IsolationError,
    NoSourceError,
    NotKeptError,
    NotOursError,
    NotReadyError,
    NotRestoredError,
    ServiceError,
    SettingsError,
    StartError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    import pytest

__all__ = [
    "Backend",
    "BerthError",
    "Client",
    "Container",
    "Credentials",
    "Dedicated",
    "FromCompose",
    "IsolationError",
    "Kept",
    "LocalPart",
    "LocalProcess",
    "LocalRequest",
    "Marker",
    "Namespace",
    "NoSourceError",
    "NotKeptError",
    "NotOursError",
    "NotReadyError",
    "NotRestoredError",
    "Option",
    "Progress",
    "Server",
    "Service",
    "ServiceError",
    "Setting",
    "Settings",
    "SettingsError",
    "SnapshotFile",
    "Source",
    "StartError",
    "Worker",
    "choice",
    "lines",
    "text",
    "words",
]

_SCHEME = "scheme"


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
        snapshot: Name of the snapshot that its data is stored as; empty where it is not.
        from_snapshot: Whether it has started from such a snapshot.
        reuse_record: Name of the record by which later runs find it; empty where none may.
        reattached: Whether an earlier run has started it.
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
    from_snapshot: bool = False
    reuse_record: str = ""
    reattached: bool = False

    @property
    def key(self) -> str:
        """The name that no other server of the run has."""
        return key(self.service, self.slot)

    def __str__(self) -> str:
        """Return the line that tells of the server: what it is, where it runs, why there."""
        took = f" ready in {self.started_in:.2f} s" if self.handle else ""
        again = ", in the place of a lost one" if self.restarts else ""
        reused = ", kept by an earlier run" if self.reattached else ""
        return (
            f"{self.service} {self.version}{took}: {self.source}, {self.detail}{reused},"
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

    def phase(self, what: str, text: str) -> None:
        """Show what is being done for a server; an empty text ends that.

        Only where it takes long, and somebody waits.
        """


@dataclass(frozen=True)
class SnapshotFile:
    """The one file of a container that a snapshot has to hold for another to start from it.

    Attributes:
        path: Absolute path of the file, once the server is ready.
        identity: What decides on its contents, besides the image.
        start: How a container starts from the contents.
    """

    path: str
    identity: str
    start: Callable[[bytes], Container]


@dataclass(frozen=True)
class Container:
    """How a service runs in a container.

    Attributes:
        image: Image name with tag.
        port: TCP port inside the container.
        environment: Environment variables; never secrets, as the engine shows them.
        command: Arguments for the image's entry point.
        files: Contents by absolute path, there before the start.
        in_memory: Directories that are kept in memory: what is thrown away need not reach a disk.
            With snapshots they are copied in at the start, and out at the end, by ``sh`` and ``cp``
            of the image; with a `snapshot_file`, they are on disk while that is made.
        late_files: Contents by absolute path, there as soon as the address is known under which the
            container is reached; in the order given.
        snapshot_file: What a snapshot holds; None where that is the whole container.
        further_ports: TCP ports besides `port`. Where a server's are on this machine is told by its
            ``parameters``, by the number inside.
        fixed_ports: Whether they stay the same when the container is started again.
        options: Further arguments of docker-py's ``containers.create``, such as ``user``.
    """

    image: str
    port: int
    environment: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] = ()
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    in_memory: Sequence[str] = ()
    late_files: Callable[[str, int], Mapping[str, bytes]] | None = None
    snapshot_file: SnapshotFile | None = None
    further_ports: Sequence[int] = ()
    fixed_ports: bool = False
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class LocalProcess:
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
        own_account: Whether the server runs under pytest's own account also where that is root:
            for a program that no other account may be able to reach, such as a Python package.
        parameters: Further connection parameters of the server, such as another port's number.
    """

    version: str
    detail: str
    prepare: Sequence[Sequence[str]] = ()
    command: Sequence[str] = ()
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    stop_signal: str = "SIGTERM"
    after: Sequence[str] = ()
    data: str = ""
    clean_signal: str = "SIGTERM"
    own_account: bool = False
    parameters: Mapping[str, str] = field(default_factory=dict)


class LocalPart(NamedTuple):
    """A program, or a file to be downloaded, that a local process is made of.

    Attributes:
        about: What it is, and where: ``"Java 17.0.2 (PATH)"``.
        directory: Name of its directory in the cache; empty for what is installed.
        size: Bytes to be downloaded where the cache has no such directory.
    """

    about: str
    directory: str = ""
    size: int = 0


@dataclass(frozen=True)
class LocalRequest:
    """What a service is told when it is to describe a local launch.

    Attributes:
        directory: The server's own directory.
        port: TCP port to listen on, on the loopback interface.
        credentials: The administrator's account.
        progress: Where to tell about downloads.
        further_port: Reserves another port at each call.
        parameters: Those of the lost server in whose place this one comes, see `LocalProcess`.
    """

    directory: Path
    port: int
    credentials: Credentials
    progress: Progress
    further_port: Callable[[], int]
    parameters: Mapping[str, str] = field(default_factory=dict)


class Kept(NamedTuple):
    """A database, number or topic in which the state of a failed test stays.

    Attributes:
        name: What it is called on the server.
        note: What in it is not as the test has left it; empty where all is.
    """

    name: str
    note: str = ""


class Client(NamedTuple):
    """The command that opens a shell in something that is kept.

    Attributes:
        command: Program and arguments, without the password.
        environment: What the program needs besides, such as the password.
        instead: What to do where it is not installed.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    instead: str = ""


class Worker(NamedTuple):
    """Who works on a server: an xdist worker, or one test that has a server for itself.

    Attributes:
        config: pytest's configuration.
        settings: The settings of the run.
        run_id: Id of the run, which no other run has.
        name: ``"main"``, or xdist's name of this worker: ``"gw0"``.
        workers: How many workers the run has.
        dedicated: Whether the server is one test's own, and ends with it.
        note: Prints a line for the user.
        fixtures: The values of the fixtures that `Service.needs` names.
    """

    config: pytest.Config
    settings: Settings
    run_id: str
    name: str
    workers: int
    dedicated: bool
    note: Callable[[str], None]
    fixtures: Mapping[str, object]

    @property
    def namespace(self) -> str:
        """A name that no other worker of any run has: ``"berth_k3x9_gw0"``."""
        return f"berth_{self.run_id}_{self.name}"


class Namespace:
    """What a worker, or one test, has of a server for itself.

    A subclass sets `url`, and gives each test a clean slate in one of three ways: by `reset`, which
    empties it; by `capture` and `restore` with `restores` set, which keep what fixtures of a wider
    scope have written; or by an `isolate` of its own.

    Attributes:
        url: Its address, which the fixture ``<prefix>_url`` gives to tests.
        restores: Whether `capture` and `restore` are there.
        dedicated: Whether the server ends with the test that has it for itself; set by berth.
    """

    url: str = ""
    restores: bool = False
    dedicated: bool = False

    def reset(self) -> None:
        """Empty it, after each test.

        Raises:
            NotRestoredError: It cannot be emptied; the server is replaced, if berth started it.
        """
        raise NotImplementedError(f"{type(self).__name__} has no reset(), and no isolate()")

    def capture(self) -> Mapping[Any, Any]:
        """Return everything that it holds, by key: what `restore` needs to put it back."""
        raise NotImplementedError(f"{type(self).__name__} has no capture()")

    def restore(self, baseline: Mapping[Any, Any]) -> None:
        """Make it hold what it held when *baseline* was captured, and nothing else."""
        raise NotImplementedError(f"{type(self).__name__} has no restore()")

    @contextmanager
    def isolate(self, item: pytest.Item | None) -> Iterator[Any]:
        """Give a test a clean slate, and clean up behind it.

        Args:
            item: The test; None for one that may ask for the service only while it runs.

        Yields:
            What the fixture ``_<prefix>_isolation`` hands to the service's other fixtures.
        """
        try:
            yield None
        finally:
            if not self.dedicated:
                self.reset()

    def reopen(self, server: Server) -> None:
        """Go on with the server that has taken the place of a lost one: same address, same account.

        Nothing is on it but what `open` has to make there.
        """

    def sweep(self) -> None:
        """Remove what has come after the last test's end, before any fixture of the next one."""

    def expect_changes(self) -> None:
        """Take what is written from now on for the next test's fixtures', not for leftovers."""

    def may_write(self, item: pytest.Item) -> bool:
        """Tell whether a test that reaches the service, or its fixtures, may write to it."""
        return True

    def take_dirty(self) -> Sequence[str]:
        """Return, once, what the last clean-up has found changed: names of tables, keys, topics."""
        return ()

    # What a failing test's report tells of it. Asked before anything is cleaned up behind the test,
    # on a server that may be suspended: an answer waits for nothing longer than a second or two.

    def sent_elsewhere(self, item: pytest.Item) -> Sequence[str]:
        """Describe what other processes than the test's have sent, one line each, newest last."""
        return ()

    def changes(self, item: pytest.Item) -> Sequence[str]:
        """Describe what a test has changed so far, one line each; the most telling ones first."""
        return ()

    def left_behind(self, item: pytest.Item) -> Sequence[str]:
        """Describe what a test leaves open: transactions, locks, connections; one line each."""
        return ()

    def explain(self, item: pytest.Item, error: BaseException) -> Sequence[str]:
        """Tell what the server knows of an error: the row in the way, who holds the lock."""
        return ()

    def masked(self, item: pytest.Item, error: BaseException) -> Mapping[str, str]:
        """Return parts of an error's message that tell secrets, and what to show instead."""
        return {}

    def shell(self, item: pytest.Item) -> str:
        """Return the command that opens a shell in it, without the password."""
        return ""

    def plans(self, item: pytest.Item, statements: Sequence[tuple[str, Any]]) -> Sequence[str]:
        """Return how the server would carry out statements of a test, a text for each.

        Asked only where the run is to have a page. Nothing may be carried out.

        Args:
            item: The test.
            statements: Texts as they were sent, with their parameters as a `recorder.Record` keeps
                them; the slowest first.

        Returns:
            Empty texts for what is not told; those at the end may be left out.
        """
        return ()

    def shell_name(self) -> str:
        """Return the name by which `Backend.client` finds it; empty where there is none."""
        return ""

    def seed(self, lines: Sequence[str]) -> None:
        """Write what seeds say into it, as it stands.

        Args:
            lines: Files with absolute paths, or what else the service's setting for seeds may hold.
        """
        raise NotImplementedError(f"{type(self).__name__} has no seed()")

    def peek(self) -> str:
        """Let a second connection see what the running test has done, while a debugger waits.

        Returns:
            The name by which `Backend.client` finds it; empty where there is no such thing.
        """
        return ""

    def keep(self, item: pytest.Item, name: str, until: float) -> Sequence[Kept]:
        """Copy what a failed test has done to where no later test, and no later run, sees it.

        Asked when the test has failed, and before anything is cleaned up behind it; nothing that
        the test may still use is disturbed. On a `dedicated` server nothing is to be copied: it
        stays.

        Args:
            item: The test.
            name: A name that no other failure has: letters, digits, underscores.
            until: Until when it stays, in seconds since 1970; `Backend.reset_server` has to know.

        Raises:
            NotKeptError: That cannot be done.
        """
        raise NotKeptError("its service keeps nothing.", why=f"{type(self).__name__} has no keep()")

    # For ``--berth-audit``: asked after every test, whatever the test uses.

    def audit(self) -> Mapping[str, str | None]:
        """Return all that it holds which a test must leave as it was, as a text by name.

        Two looks are compared, and what differs is shown. A text's first line says how a thing
        stands, such as ``2 rows``, each further line is a part of it, such as ``id=1``. What
        follows a tab in a line is compared, and not shown: the digest of a value, or of a secret.
        None stands for what cannot be told at the moment.
        """
        raise NotImplementedError(f"{type(self).__name__} has no audit()")

    @property
    def generation(self) -> str:
        """Another text each time that all it holds was made anew, as after a crash."""
        return ""

    def audit_server(self) -> Mapping[str, str | None]:
        """Return the same of what all workers share on the server, such as its settings."""
        return {}

    @property
    def follows_fixtures(self) -> bool:
        """Whether `entering` and `leave` put back what fixtures of a wider scope write."""
        return False

    def entering(self, place: Any, fixture: object) -> AbstractContextManager[None]:
        """Let a fixture of a wider scope write; for `follows_fixtures` only."""
        raise NotImplementedError

    def leave(self, fixture: object, name: str) -> None:
        """Put back what a fixture of a wider scope wrote, as it has ended."""

    def note_end(self, fixture: object) -> None:
        """Note that a fixture of a wider scope has ended, before `leave`; also on a lost server."""


class Backend:
    """What a service does: it launches servers, asks whether they answer, opens namespaces.

    Args:
        service: Its descriptor.

    Attributes:
        service: The same.
        program: Name of the program that `local` runs, looked for on the PATH.
        default_port: The port of a URL that names none.
        replaces_silent: Whether a server that runs but does not answer is given up at once.
    """

    program: str = ""
    default_port: int = 0
    replaces_silent: bool = False

    def __init__(self, service: Service) -> None:
        self.service = service

    # What must be there.

    def container(self, settings: Settings, account: Credentials) -> Container:
        """Describe the container; left out where there is no image, and `local` is there."""
        raise NotImplementedError(f"{type(self).__name__} has no container()")

    def probe(self, server: Server) -> str:
        """Connect once and return the server's version; ``"?"`` where it does not tell.

        Raises:
            NotReadyError: It does not answer yet; it is asked again.
            StartError: It will never be ready, for instance because another server answers.
        """
        raise NotImplementedError(f"{type(self).__name__} has no probe()")

    def open(self, server: Server, worker: Worker) -> AbstractContextManager[Namespace]:
        """Open what a worker has of a server for itself; it is closed when the session ends."""
        raise NotImplementedError(f"{type(self).__name__} has no open()")

    # How servers are launched and addressed.

    def account(self, settings: Settings) -> Credentials:
        """Return the account of a server to be started: none, where the service knows none."""
        return Credentials("", "", "", given=bool(settings[self.service.port]))

    def image(self, settings: Settings) -> str:
        """Return the container's image: the one that is set, or the usual one of the version."""
        version = settings[self.service.version]
        return settings[self.service.image] or self.service.default_image.format(version=version)

    def local_obstacle(self, settings: Settings) -> BerthError | None:
        """Tell why no local process can be had here; None when one can.

        The usual one looks for `program` on the PATH.
        """
        label = self.service.label
        if type(self).local is Backend.local:
            return NoSourceError(
                f"{label} cannot run as a local process.",
                why="its service knows containers and URLs only",
                remedy=f"install a container engine, or set berth_{self.service.prefix}_url",
            )
        if not self.program or shutil.which(self.program):
            return None
        return NoSourceError(
            f"{label} is not installed.",
            why=f"there is no program {self.program!r} on the PATH",
            remedy=f"install it, or a container engine, or set berth_{self.service.prefix}_url",
        )

    def local(self, settings: Settings, request: LocalRequest) -> LocalProcess:
        """Describe the local process."""
        raise NotImplementedError(f"{type(self).__name__} has no local()")

    def local_parts(self, settings: Settings) -> Sequence[LocalPart]:
        """Return what `local` runs here, without downloading anything; `local_obstacle` is None."""
        program = shutil.which(self.program) if self.program else None
        return [LocalPart(program)] if program else []

    def local_identity(self, settings: Settings) -> Sequence[str]:
        """Return what makes one local process differ from another: programs and settings."""
        return [shutil.which(self.program) or "", settings[self.service.version]]

    def external(self, settings: Settings) -> Server | None:
        """Return the server that ``berth_<prefix>_url`` names; None without one."""
        option = self.service.url
        return self.server_at(settings[option]) if settings[option] else None

    def server_at(self, url: str) -> Server:
        """Return the external server at a URL: ``scheme://user:password@host:port``.

        The scheme is the parameter ``scheme`` of a server that has another than the usual one.
        """
        parts = urlsplit(url)
        account = Credentials(unquote(parts.username or ""), unquote(parts.password or ""), "")
        host, port = parts.hostname or "", parts.port or self.default_port
        usual = self.service.schemes[0]
        return Server(
            self.service.name,
            "external",
            host,
            port,
            account,
            detail=f"{parts.scheme}://{host}:{port}",  # the user may be a token, and so a secret
            reason=f"{self.service.url.name} is set",
            parameters={} if parts.scheme == usual else {_SCHEME: parts.scheme},
        )

    def placeholders(
        self, server: Server, settings: Settings, run_id: str, worker: str
    ) -> Mapping[str, object]:
        """Return the values that ``berth_export`` may use: known before the server is started."""
        prefix = self.service.prefix
        address = {f"{prefix}_host": server.host, f"{prefix}_port": server.port}
        return {self.service.address: self.url(server), **address}

    def url(self, server: Server) -> str:
        """Return a server's URL, with the account where there is one."""
        account = server.credentials
        password = f":{quote(account.password, safe='')}" if account.password else ""
        given = f"{quote(account.user, safe='')}{password}"
        host = f"[{server.host}]" if ":" in server.host else server.host
        scheme = server.parameters.get(_SCHEME, self.service.schemes[0])
        return f"{scheme}://{given}{'@' if given else ''}{host}:{server.port}"

    # What its tests need.

    def running_server(self, running: Any) -> Any:
        """Return what the fixture ``<prefix>_server`` gives to tests: *running*, or more."""
        return running

    def connection_errors(self) -> tuple[type[Exception], ...]:
        """Return what its client raises when a connection fails."""
        return (OSError,)

    def check(self, items: Sequence[pytest.Item]) -> None:
        """Check what is written about the service for the selected tests, besides the usual.

        Raises:
            SettingsError: A marker, a setting or a path is wrong.
        """

    def describe_isolation(self, item: pytest.Item) -> str:
        """Describe how a test gets its clean slate, and why so, for reports."""
        return "reset after each test"

    def limited(self, item: pytest.Item) -> AbstractContextManager[object]:
        """Hold a test to limits of its marker that may ask for the service only while it runs.

        Entered when the test is set up, left when it is torn down. A test that reaches the service
        by its fixtures is held to them by its isolation.
        """
        return nullcontext()

    def load_drivers(self) -> None:
        """Import its packages; they are there."""
        from importlib import import_module

        for package in self.service.packages:
            import_module(package)

    def load(self, items: Sequence[pytest.Item], *, starts: bool) -> None:
        """Import what else its tests need, while servers start.

        Args:
            items: The selected tests that need it.
            starts: Whether its server is to be started; else an earlier run has left it.
        """

    def prebuild(self, server: Server, item: pytest.Item) -> None:
        """Do ahead, in a thread of its own, what tests need on the server and no fixture settles.

        Args:
            server: The server, which answers.
            item: A test that needs it.
        """

    def own_log(self, log: str, server: Server, run_id: str, worker: str) -> str:
        """Leave out of a server's log what other workers' tests have caused."""
        return log

    def was_used(self, server: Server, run_id: str) -> bool | None:
        """Tell whether anybody but berth has worked on a server of ours; None where nobody can."""
        return None

    def client(self, server: Server, name: str) -> Client:
        """Return the command that opens a shell in what `Namespace.keep` has named."""
        raise NotImplementedError(f"{type(self).__name__} has no client()")

    def prompt(self, values: Mapping[str, str]) -> Mapping[str, object]:
        """Return variables for a Python prompt: clients of the usual packages, by their names.

        It is what ``pytest-berth shell`` opens where the program of `client` is not there. What has
        a ``close()`` is closed afterwards.

        Args:
            values: The values of the service's placeholders, by name.

        Raises:
            Exception: The package is not installed, or the server does not answer; the prompt then
                has the values only.
        """
        return {}

    def discard_kept(self, server: Server, name: str) -> None:
        """Remove what `Namespace.keep` has named, if it provably was made by that."""
        raise NotImplementedError(f"{type(self).__name__} has no discard_kept()")

    # What outlives a run: for external servers, and for `Service.reusable` and `Service.snapshots`.

    def release(self, server: Server, run_id: str) -> None:
        """Remove from an external server what a run has created there."""

    def state_digest(self, server: Server) -> Sequence[str]:
        """Return what tests can change on a server of ours, but for what later runs can use.

        A server must be in the same state again before another run may have it.
        """
        raise NotImplementedError(f"{type(self).__name__} has no state_digest()")

    def reset_server(
        self, server: Server, run_id: str, digest: Sequence[str], password: str
    ) -> Sequence[str]:
        """End what is connected to a server of ours, and remove what was not there at its start.

        Args:
            server: The server, which `probe` has just told from others at its address.
            run_id: The run that has used it.
            digest: What was there.
            password: The administrator's from now on, where there is one.

        Returns:
            The digest of the state that it is in now.
        """
        raise NotImplementedError(f"{type(self).__name__} has no reset_server()")

    def prepare_snapshot(self, server: Server, run_id: str) -> bool:
        """Leave on a server only what later runs can use.

        Returns:
            Whether that is more than the server began with, and nothing else is left.
        """
        return False

    def set_password(self, server: Server, password: str) -> None:
        """Give the administrator of a running server another password."""


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

    def store_snapshot(self, server: Server) -> None:
        """Store a snapshot, from which later servers can start; that may end the server."""

    def forget_snapshot(self, server: Server) -> None:
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

    def log_position(self, server: Server) -> float:
        """Return the present position in the server's log."""

    def log(self, server: Server, since: float) -> str:
        """Return what the server logged since a position; 0 is the beginning."""

    def exit_status(self, server: Server) -> str | None:
        """Describe how the server ended; None while it runs or where nobody can tell."""

    def other_listener(self, server: Server) -> str:
        """Describe who else listens at the server's address; empty where nobody is known to."""

    def suspension(self, server: Server) -> str:
        """Describe what suspends the server's processes; empty where nothing is known to."""

    def kill(self, server: Server) -> None:
        """End the server as it is: whoever waits for its answer sees that it is gone."""
