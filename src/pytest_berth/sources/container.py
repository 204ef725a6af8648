"""Servers in containers, on whatever engine testcontainers finds."""

from __future__ import annotations

import dataclasses
import io
import tarfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from json import JSONDecodeError
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from pytest_berth.api import Backend, Credentials, Server
from pytest_berth.config.options import RYUK
from pytest_berth.debug_log import debug, ignoring
from pytest_berth.errors import BerthError, NoSourceError, StartError
from pytest_berth.sources import (
    engine_errors,
    images,
    memory_copies,
    networks,
    ports,
    ryuk,
    snapshots,
    socket_engine,
)
from pytest_berth.sources.container_engine import (
    ClientSettingsError,
    Engine,
    EngineUnreachableError,
    RegistryLoginError,
    connect,
    image_name,
    load_client,
)
from pytest_berth.sources.labels import INSIDE, RUN
from pytest_berth.sources.snapshots import StoredSnapshot
from pytest_berth.waiting import wait_for, wall_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from socket import socket

    from pytest_berth.api import Container, Progress, Service
    from pytest_berth.config.options import Settings

_LOG_LINES = 20
_REMOVED_WITHIN = 60.0


@dataclass
class ContainerSource:
    """The source that runs a service's image.

    Containers carry labels of this run only, not testcontainers' session label: the user's own
    testcontainers reap theirs, and leave ours alone. With ``berth_ryuk`` they carry both.
    """

    settings: Settings
    run_id: str
    labels: Callable[[], Mapping[str, str]] = dict
    name: str = field(default="container", init=False)
    reserved: list[ports.Reservation] = field(default_factory=list, init=False)
    _engine: Engine | None = field(default=None, init=False)
    _joined: dict[str, socket | None] = field(default_factory=dict, init=False)
    _connecting: threading.Lock = field(default_factory=threading.Lock, init=False)

    @property
    def engine(self) -> Engine:
        """The engine, connected to when first needed, by one thread for all."""
        with self._connecting:
            if self._engine is None:
                self._engine = self._by_socket() or connect()
            return self._engine

    def load(self) -> None:
        """Import the engine's client, where there can be an engine that is not asked without."""
        with ignoring(EngineUnreachableError, why="then no client can be used"):
            if not self._by_socket():
                load_client()

    def _by_socket(self) -> Engine | None:
        # Ryuk is testcontainers'.
        place = None if self.settings[RYUK] else socket_engine.place()
        return socket_engine.connect(place) if place else None

    def obstacle(self, service: Service, progress: Progress) -> BerthError | None:
        """Tell why no container can serve: no engine, or no image, which is pulled if need be."""
        return self.engine_obstacle(service) or self._image_obstacle(service, progress)

    def engine_obstacle(self, service: Service) -> BerthError | None:
        """Tell why no container can serve, whatever images there are."""
        if not _has_container(service):
            return NoSourceError(
                f"{service.label} cannot run as a container.",
                why="its service knows local processes and URLs only",
                remedy=f"install its program, or set berth_{service.prefix}_url",
            )
        try:
            self.engine  # noqa: B018  it is connected to
        except RegistryLoginError as error:
            return NoSourceError(
                "the login to the registry of DOCKER_AUTH_CONFIG failed.",
                why=_brief(error),
                remedy="correct DOCKER_AUTH_CONFIG, or leave it out: images that are there already,"
                " and public ones, need no login",
            )
        except ClientSettingsError as error:
            return NoSourceError(
                "the container engine cannot be looked for.",
                why=f"its client fails at its settings: {error}",
                remedy="see to DOCKER_HOST, and to .docker/config.json and"
                " .testcontainers.properties in the directory HOME, which has to be there",
            )
        except EngineUnreachableError as error:
            return NoSourceError(
                "no container engine answers.",
                why=_brief(error),
                remedy="start Docker or Podman, or point DOCKER_HOST at an engine",
            )
        return None

    def image(self, service: Service) -> str:
        """Return the name of the service's image."""
        account = service.backend.account(self.settings)
        return image_name(service.backend.container(self.settings, account).image)

    def _image_obstacle(self, service: Service, progress: Progress) -> BerthError | None:
        image = self.image(service)
        try:
            if not images.present(self.engine, image):
                images.pull(self.engine, image, progress)
        except _not_asked() as error:
            return NoSourceError(
                f"the image {image} is not present and could not be pulled.",
                why=_brief(error),
                remedy=f"docker pull {image}",
            )
        return ryuk.obstacle(self.engine, progress) if self.settings[RYUK] else None

    def plan(self, service: Service, credentials: Credentials, *, fixed: bool) -> Server:
        """Describe the server to be; the engine chooses the port unless it is to be fixed."""
        spec = service.backend.container(self.settings, credentials)
        host = self.engine.known_host() or ""
        port, further = ports.fixed(service, self.settings), {}
        if (fixed or spec.fixed_ports) and host:
            port = port or self._reserve()
            further = {str(each): str(self._reserve()) for each in spec.further_ports}
        image = image_name(spec.image)
        return Server(
            service.name, self.name, host, port, credentials, detail=image, parameters=further
        )

    def start(self, service: Service, plan: Server, progress: Progress) -> Server:
        """Create and start the container."""
        spec = service.backend.container(self.settings, plan.credentials)
        spec = dataclasses.replace(spec, image=image_name(spec.image))
        spec, stored_as, from_snapshot = self._with_snapshot(service, plan, spec)
        if self.engine.on_this_host:
            ports.claim(service, self.settings, self.reserved)
        reaper = ryuk.start() if self.settings[RYUK] else None
        container = self._create(plan, spec)
        try:
            network = networks.join(
                self.engine, container.id, plan, self._name(plan), self._labels(spec.image)
            )
            if spec.files:
                container.put_archive("/", _archive(spec.files))
            container.start()
            host = self.engine.host(container.id)
            port = self.engine.port(container.id, spec.port)
            further = {each: self.engine.port(container.id, each) for each in spec.further_ports}
            if spec.late_files:
                container.put_archive("/", _archive(spec.late_files(host, port)))
        except BaseException as error:
            # testcontainers finds no port where the container has ended at once.
            failed = isinstance(error, (*engine_errors.any_of_client(), ConnectionError))
            problem = _not_started(plan, error, container) if failed else error
            _remove(lambda: container)
            networks.remove_of(self.engine, self._name(plan))
            raise problem from error
        if self.engine.maps_ports and not self.engine.on_this_host:
            progress.note(
                f"{service.name}: the engine is not on this host, or pytest runs in a container:"
                f" port {port} is published on all interfaces of {host}"
            )
        handle = {
            "container": container.id,
            "run": self.run_id,
            "network": network,
            "reaper": reaper,
            "socket": self.engine.socket,
            "snapshot_file": spec.snapshot_file.path if spec.snapshot_file else "",
        }
        detail = f"{plan.detail}, from a snapshot" if from_snapshot else plan.detail
        return dataclasses.replace(
            plan,
            host=host,
            port=port,
            detail=detail,
            parameters={**plan.parameters, **{str(each): str(further[each]) for each in further}},
            handle=handle,
            snapshot=stored_as,
            from_snapshot=from_snapshot,
        )

    def _with_snapshot(
        self, service: Service, plan: Server, spec: Container
    ) -> tuple[Container, str, bool]:
        """Return the container to be, the name of its snapshot, and whether it starts from it."""
        secret = snapshots.password(self.settings, service)
        if not secret:
            return spec, "", False
        image = self.engine.images.get(spec.image)
        if spec.snapshot_file:
            made_by = str(image.id), spec.snapshot_file.identity
            stored_as = snapshots.shared_name(plan.service, *made_by)
            content = StoredSnapshot(stored_as).read()
            # What is to be read out of a container must be on its disk.
            on_disk = dataclasses.replace(spec, in_memory=())
            started = spec.snapshot_file.start(content) if content else on_disk
            started = dataclasses.replace(
                started, image=spec.image, snapshot_file=spec.snapshot_file
            )
            return started, stored_as, bool(content)
        secrets = plan.credentials.password, secret
        made = [value for value in spec.environment.values() if value not in secrets]
        stored_as = snapshots.name(self.settings, plan, secret, str(image.id), *made)
        stored = images.snapshot(self.engine, stored_as, image)
        if spec.in_memory:
            own = spec.options.get("entrypoint", images.entry_point(image))
            first = memory_copies.entry_point(spec.in_memory, own)
            spec = dataclasses.replace(spec, options={**spec.options, "entrypoint": first})
        return dataclasses.replace(spec, image=stored or spec.image), stored_as, bool(stored)

    def stop(self, server: Server) -> None:
        """Remove the container and its anonymous volumes."""
        _remove(lambda: self._container(server))
        if server.handle.get("network"):
            networks.remove(self.engine, server.handle["network"])
        if server.handle.get("reaper") and not server.slot:
            ryuk.stop(self.engine, server.handle["reaper"])

    def join(self, server: Server) -> None:
        """Connect to Ryuk, if there is one, so that it waits for this process, too."""
        if server.handle.get("reaper") and server.handle["container"] not in self._joined:
            self._joined[server.handle["container"]] = ryuk.join(server.handle["reaper"])

    def store_snapshot(self, server: Server) -> None:
        """Store a snapshot: a file of the container, or the stopped container as an image."""
        if not self.prepare_image(server):
            return
        container = self._container(server)
        container.stop(timeout=memory_copies.STOPS_WITHIN)
        state = self._container(server).attrs["State"]
        if state["ExitCode"]:
            raise BerthError(
                f"its data is not complete: the container ended with status {state['ExitCode']}."
            )
        images.store(container, server.snapshot)

    def prepare_image(self, server: Server) -> str:
        """Let the container leave its data where an image will hold it, as soon as it is stopped.

        Returns:
            The request to the engine that makes the image then; empty where a snapshot is a file,
            which is stored by now.
        """
        container = self._container(server)
        snapshot_file = server.handle.get("snapshot_file")
        if snapshot_file:
            StoredSnapshot(server.snapshot).write(_read(container, snapshot_file))
            return ""
        images.make_room(self.engine, server.snapshot)
        container.put_archive("/", _archive({memory_copies.REQUEST: b""}))
        return images.request(container, server.snapshot)

    def forget_snapshot(self, server: Server) -> None:
        """Remove the image, or the file, that a container has started from."""
        if server.handle.get("snapshot_file"):
            StoredSnapshot(server.snapshot).forget()
        else:
            images.forget(self.engine, server.snapshot)

    def clear(self, plan: Server) -> None:
        """Remove the server's container, if one was created."""
        with removal():
            found = self.engine.containers.get(self._name(plan))
            if found.labels.get(RUN) == self.run_id:
                _remove(lambda: self.engine.containers.get(found.id))
                networks.remove_of(self.engine, self._name(plan))

    def identity(self, service: Service) -> Sequence[str] | None:
        """Return the engine, the image's id, and all that a container is created with."""
        if not _has_container(service):
            return None
        nobody = Credentials("berth", "berth", "berth")
        spec = service.backend.container(self.settings, nobody)
        try:
            engine, image = self._image(spec.image)
        except EngineUnreachableError as error:
            debug("%s: no engine, and so no container to be reused: %s", service.name, error)
            return None
        if not image:
            return ()
        environment = (f"{name}={value}" for name, value in spec.environment.items())
        files = (f"{path}={content!r}" for path, content in spec.files.items())
        return (engine, image, *spec.command, *environment, *files, *spec.in_memory)

    def sweep(self, spared: Collection[Server] = ()) -> None:
        """Remove every container of this run, also one whose creation was interrupted."""
        kept = {server.handle.get("container") for server in spared}
        labelled = {"label": f"{RUN}={self.run_id}"}
        for container in self.engine.containers.list(all=True, filters=labelled, sparse=True):
            if container.id in kept:
                continue
            with removal():
                container.remove(force=True, v=True)
        for network in networks.of_run(self.engine, self.run_id):
            networks.remove(self.engine, network.id)

    def log_position(self, server: Server) -> float:
        """Return the engine's present position in the log: the time."""
        return wall_clock()

    def log(self, server: Server, since: float) -> str:
        """Return what the container printed since a position in its log."""
        try:
            lines = self._container(server).logs(**({"since": since} if since else {}))
        except engine_errors.any_of_client() as error:
            return f"(the log of the container could not be read: {_brief(error)})"
        return str(lines.decode(errors="replace"))

    def exit_status(self, server: Server) -> str | None:
        """Describe how the container ended, None while it runs."""
        try:
            state = self._container(server).attrs["State"]
        except engine_errors.not_found():
            return "the container was removed"
        except engine_errors.any_of_engine() as error:
            debug("%s: the engine itself does not answer: %s", server.key, _brief(error))
            return None
        if state["Status"] in {"created", "running", "restarting"}:
            return None
        if state["Status"] == "paused":
            return "the container is paused"
        if state["Status"] == "removing":
            return "the container is being removed"
        killed = ", out of memory" if state.get("OOMKilled") else ""
        return f"the container {state['Status']} with status {state['ExitCode']}{killed}"

    def other_listener(self, server: Server) -> str:
        """Return nothing: the engine starts no container whose port is taken."""
        return ""

    def suspension(self, server: Server) -> str:
        """Tell whether the container is paused, or one of its processes stopped; nothing else."""
        from pytest_berth.sources import engine_socket

        try:
            container = self._container(server)
            if container.attrs["State"]["Status"] == "paused":
                return "the container was paused"
            processes = container.top(ps_args=engine_socket.STATES)
            is_held = engine_socket.has_stopped(processes)
        except engine_errors.api():
            return ""  # it has ended; not every engine tells of processes
        return "a process of the container was stopped (SIGSTOP)" if is_held else ""

    def kill(self, server: Server) -> None:
        """Remove the container: the engine does not kill one that is paused."""
        _remove(lambda: self._container(server))

    def _labels(self, image: str) -> dict[str, str]:
        own = {RUN: self.run_id, **self.labels()}
        # Also where it is empty: an image made of a container, as snapshots are, hands labels down.
        own[INSIDE] = self.engine.our_container()
        return ryuk.labels(image, own) if self.settings[RYUK] else own

    def _image(self, image: str) -> tuple[str, str]:
        """Return what names the engine, and the image's id there; empty where it has none."""
        from pytest_berth.sources import engine_socket

        path = engine_socket.socket_path()
        if path:
            return path, engine_socket.image_id(path, image)
        engine, name = self.engine, image_name(image)

        try:
            found = images.identity(engine, name) if images.present(engine, name) else ""
        except engine_errors.any_of_engine() as error:
            raise EngineUnreachableError(_brief(error)) from error
        return engine.address, found

    def _reserve(self) -> int:
        reservation = ports.reserve()
        self.reserved.append(reservation)
        return reservation.port

    def _name(self, plan: Server) -> str:
        return f"berth-{self.run_id}-{plan.key}"

    def _container(self, server: Server) -> Any:
        return self.engine.containers.get(server.handle["container"])

    def _create(self, plan: Server, spec: Container) -> Any:
        further = {each: int(plan.parameters.get(str(each), 0)) for each in spec.further_ports}
        chosen = {spec.port: plan.port, **further}
        # Where containers are reached at their own address, no port needs to be open to others.
        chosen = chosen if self.engine.maps_ports else {}
        open_ports = {f"{inside}/tcp": self._published(port) for inside, port in chosen.items()}
        options: dict[str, Any] = {**spec.options, "ports": open_ports}
        network = self.engine.network()
        return self.engine.containers.create(
            spec.image,
            command=list(spec.command),
            environment=dict(spec.environment),
            labels=self._labels(spec.image),
            tmpfs=dict.fromkeys(spec.in_memory, ""),
            name=self._name(plan),
            **options,
            **({"network": network} if network else {}),
        )

    def _published(self, port: int) -> Any:
        """Return where a port is published; testcontainers does so on all interfaces.

        A test database is nobody else's.
        """
        return ("127.0.0.1", port or None) if self.engine.on_this_host else port or None


def _read(container: Any, path: str) -> bytes:
    """Return the contents of a container's file."""
    chunks, _ = container.get_archive(path)
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        file = tar.extractfile(tar.getmembers()[0])
        return file.read() if file else b""


def _archive(files: Mapping[str, bytes]) -> bytes:
    """Pack the files into a tar that the engine unpacks into the container's root."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for directory in {str(PurePosixPath(path).parent) for path in files}:
            entry = tarfile.TarInfo(directory.lstrip("/"))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for path, content in files.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(content), 0o444
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@contextmanager
def removal() -> Iterator[None]:
    """Ignore the error that the container is gone, or is being removed by another process."""
    try:
        yield
    except engine_errors.api() as error:
        if error.status_code not in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:
            raise


def _remove(find: Callable[[], Any]) -> None:
    """Remove a container and its anonymous volumes; return when it is gone.

    Somebody else may be removing it: its name and its port are taken until that has ended.
    """

    def is_gone() -> bool:
        try:
            find().remove(force=True, v=True)
        except engine_errors.not_found():
            return True
        except engine_errors.api() as error:
            if error.status_code != HTTPStatus.CONFLICT:
                raise
            return False
        return True

    wait_for(is_gone, _REMOVED_WITHIN, message="the removal of a container")


def _not_asked() -> engine_errors.Kinds:
    """Return the errors of an engine, also those of connecting to it by its own client."""
    return (EngineUnreachableError, *engine_errors.any_of_engine())


def _has_container(service: Service) -> bool:
    return type(service.backend).container is not Backend.container


def _not_started(plan: Server, error: BaseException, container: Any) -> StartError:
    from docker.errors import DockerException

    remedy = "the engine's message, or the end of the log, says what is wrong"
    if plan.port:
        remedy += f";\nwhere port {plan.port} is taken, free it, or run again for another"
    log = ""
    with ignoring(DockerException, why="the container is gone"):
        log = container.logs(tail=_LOG_LINES).decode(errors="replace").strip()
    why = f"{_brief(error)}\nthe end of its log:\n{log}" if log else _brief(error)
    return StartError(
        f"the container of {plan.detail} could not be started.", why=why, remedy=remedy
    )


def _brief(error: BaseException) -> str:
    """Return the innermost cause, without the half page of repetitions around it."""
    explained = getattr(error, "explanation", None)
    while error.__cause__ or error.__context__:
        if isinstance(error, JSONDecodeError):
            return f"what answers is no engine: {error}"
        error = error.__cause__ or error.__context__ or error
        explained = explained or getattr(error, "explanation", None)
    # What the engine answered says more than the status that it answered with.
    return " ".join(str(explained or error).split())[:500]
