"""An engine behind a local socket: its commonest requests, without docker-py and testcontainers.

Their import takes 0.2 s, as long as a server takes to start. What a run asks in any case goes over
the socket: whether an image is there; a container made, started, looked at, removed; containers
and networks listed. For everything else, such as to pull an image, they are imported then. Where
anything but the socket says which engine is meant, it is all theirs.
"""

from __future__ import annotations

import json
from functools import cached_property
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from pytest_berth.sources import engine_socket
from pytest_berth.sources.container_engine import (
    CONTEXTS,
    LOCAL_ANSWERS_WITHIN,
    WORK_WITHIN,
    Engine,
    EngineUnreachableError,
    file_of_home,
    is_plain,
    shares_our_network,
)
from pytest_berth.sources.engine_errors import EngineError, refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# In a container, testcontainers finds out how others of the outer engine are reached.
_INSIDE = Path("/.dockerenv")
_TAR = "application/x-tar"
_PONG = b"OK"
# Of docker-py's arguments of a container, those that are known here.
_KNOWN = {"command", "entrypoint", "environment", "labels", "name", "ports", "tmpfs"}


def place() -> str | None:
    """Return the socket to be asked; None where only testcontainers can tell which is meant."""
    path = engine_socket.socket_path()
    return path if path and is_plain() and not _has_proxies() else None


def connect(path: str) -> Engine | None:
    """Return the engine behind a socket; None where that is the one that runs our own container.

    Raises:
        EngineUnreachableError: It does not answer, or not as engines do.
    """
    engine = SocketEngine(path)
    try:
        engine.ping()
        is_ours = not _INSIDE.exists() or shares_our_network(engine.networks)
    except EngineError as error:
        raise EngineUnreachableError(str(error)) from error
    return engine if is_ours else None


class SocketEngine(Engine):
    """An engine that answers behind a local socket; its ports are published on this host."""

    def __init__(self, path: str) -> None:
        super().__init__(client=None, on_this_host=True)
        self.socket = path

    @property
    def address(self) -> str:
        """Where the engine is, as docker-py writes it."""
        return "http+docker://localhost"

    @cached_property
    def containers(self) -> Any:
        """What docker-py's collection of containers does, as far as it is needed."""
        return _Containers(self)

    @cached_property
    def images(self) -> Any:
        """Likewise of images."""
        return _Images(self)

    def list_images(self, filters: Mapping[str, Any]) -> list[Any]:
        """Return images by their labels."""
        query = {"filters": json.dumps(filters), "all": 1}
        return [_Image(attrs) for attrs in self.ask("GET", "/images/json", query)]

    @cached_property
    def networks(self) -> Any:
        """Likewise of networks."""
        return _Networks(self)

    def port(self, container_id: str, port: int) -> int:
        """Return the port of this host for a container's port.

        Raises:
            ConnectionError: It has none: it has ended.
        """
        found = self.containers.get(container_id).attrs["NetworkSettings"]["Ports"] or {}
        for published in found.get(f"{port}/tcp") or ():
            return int(published["HostPort"])
        raise ConnectionError(f"the port {port} of the container {container_id} is not published")

    def ping(self) -> None:
        """Ask it whether it is there.

        Raises:
            EngineError: It does not say so.
        """
        answer = self._send("GET", "/_ping", None, "", LOCAL_ANSWERS_WITHIN)
        if answer.strip() != _PONG:
            raise _no_engine(f"it says {answer[:40]!r} where engines say OK")

    def ask(
        self,
        method: str,
        what: str,
        query: Mapping[str, Any] | None = None,
        body: bytes | Mapping[str, Any] | None = None,
        within: float = WORK_WITHIN,
    ) -> Any:
        """Send a request, and return the engine's answer, decoded.

        Raises:
            RefusedError: The engine refuses it.
            EngineError: It does not answer, or not in JSON.
        """
        address = f"{what}?{urlencode(query)}" if query else what
        kind = "application/json"
        if isinstance(body, bytes):
            kind = _TAR
        elif body is not None:
            body = json.dumps(body).encode()
        content = self._send(method, address, body, kind, within)
        try:
            return json.loads(content) if content[:1] in {b"{", b"["} else None
        except ValueError as error:
            raise _no_engine(error) from error

    def _send(
        self, method: str, address: str, body: bytes | None, kind: str, within: float
    ) -> bytes:
        try:
            status, content = engine_socket.request(
                self.socket, method, address, body, kind=kind, within=within
            )
        except (OSError, HTTPException) as error:
            raise EngineError(0, f"the engine does not answer: {error}") from error
        if status >= HTTPStatus.BAD_REQUEST:
            raise refused(status, _explanation(content))
        return content


def _no_engine(why: object) -> EngineError:
    return EngineError(0, f"what answers is no engine: {why}")


class _Container:
    """A container; what docker-py's has besides, that one does."""

    def __init__(self, engine: SocketEngine, attrs: Mapping[str, Any]) -> None:
        self.id = str(attrs["Id"])
        self.attrs = attrs
        self._engine = engine
        self._path = f"/containers/{self.id}"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine.client.client.containers.get(self.id), name)

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""
        return self.attrs["Config"]["Labels"] or {}

    def put_archive(self, path: str, data: bytes) -> None:
        """Unpack a tar in it."""
        self._engine.ask("PUT", f"{self._path}/archive", {"path": path}, data)

    def start(self) -> None:
        """Start it."""
        self._engine.ask("POST", f"{self._path}/start")

    def stop(self, timeout: float) -> None:
        """Stop it, and kill it after some seconds."""
        self._engine.ask("POST", f"{self._path}/stop", {"t": int(timeout)})

    def commit(self, repository: str, tag: str, changes: str) -> None:
        """Make an image of it."""
        query = {"container": self.id, "repo": repository, "tag": tag, "changes": changes}
        self._engine.ask("POST", "/commit", query, {})

    def remove(self, *, force: bool, v: bool) -> None:
        """Remove it, and its anonymous volumes."""
        self._engine.ask("DELETE", self._path, {"force": int(force), "v": int(v)})


class _Containers:
    """The containers of an engine."""

    def __init__(self, engine: SocketEngine) -> None:
        self._engine = engine

    def get(self, container: str) -> _Container:
        """Return a container by its id or name."""
        return _Container(self._engine, self._engine.ask("GET", f"/containers/{container}/json"))

    def list(self, *, all: bool, filters: Mapping[str, str], sparse: bool) -> Sequence[_Container]:  # noqa: A002
        """Return containers without their details."""
        query = {"all": int(all), "filters": json.dumps(_lists(filters))}
        found = self._engine.ask("GET", "/containers/json", query)
        return [_Container(self._engine, attrs) for attrs in found]

    def create(self, image: str, **options: Any) -> Any:
        """Make a container; docker-py does where it is told more than is known here."""
        if options.keys() - _KNOWN:
            return self._engine.client.client.containers.create(image, **options)
        ports = {inside: _binding(place) for inside, place in options["ports"].items()}
        body = {
            "Image": image,
            "Entrypoint": options.get("entrypoint"),
            "Cmd": options["command"],
            "Env": [f"{name}={value}" for name, value in options["environment"].items()],
            "Labels": options["labels"],
            "ExposedPorts": {inside: {} for inside in ports},
            "HostConfig": {"PortBindings": ports, "Tmpfs": options["tmpfs"]},
        }
        made = self._engine.ask("POST", "/containers/create", {"name": options["name"]}, body)
        return _Container(self._engine, made)


class _Image:
    """An image."""

    def __init__(self, attrs: Mapping[str, Any]) -> None:
        self.id = str(attrs["Id"])
        self.attrs = attrs

    @property
    def tags(self) -> Sequence[str]:
        """Its names."""
        return [tag for tag in self.attrs["RepoTags"] or () if tag != "<none>:<none>"]


class _Images:
    """The images of an engine."""

    def __init__(self, engine: SocketEngine) -> None:
        self._engine = engine

    def get(self, image: str) -> _Image:
        """Return an image by its id or name."""
        return _Image(self._engine.ask("GET", f"/images/{quote(image, safe='/:@')}/json"))

    def remove(self, image: str, *, force: bool) -> None:
        """Remove a name of an image, and the image with its last one."""
        place = f"/images/{quote(image, safe='/:@')}"
        self._engine.ask("DELETE", place, {"force": int(force)})


class _Network:
    """A network; what is done with it, docker-py does."""

    def __init__(self, engine: SocketEngine, attrs: Mapping[str, Any]) -> None:
        self.id = str(attrs["Id"])
        self.name = str(attrs["Name"])
        self.attrs = attrs
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine.client.client.networks.get(self.id), name)


class _Networks:
    """The networks of an engine; docker-py makes them."""

    def __init__(self, engine: SocketEngine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine.client.client.networks, name)

    def get(self, network: str) -> _Network:
        """Return a network by its id or name."""
        return _Network(self._engine, self._engine.ask("GET", f"/networks/{network}"))

    def list(self, *, filters: Mapping[str, str]) -> Sequence[_Network]:
        """Return networks."""
        query = {"filters": json.dumps(_lists(filters))}
        return [
            _Network(self._engine, each) for each in self._engine.ask("GET", "/networks", query)
        ]


def _lists(filters: Mapping[str, str]) -> dict[str, list[str]]:
    return {name: [value] for name, value in filters.items()}


def _binding(place: Any) -> list[dict[str, str]]:
    """Return where a port is published, of docker-py's pair of address and number or None."""
    host, port = place
    return [{"HostIp": host, "HostPort": str(port or "")}]


def _explanation(content: bytes) -> str:
    try:
        return str(json.loads(content)["message"]).strip()
    except (ValueError, KeyError, TypeError):
        return content.decode(errors="replace").strip()[:500]


def _has_proxies() -> bool:
    """Tell whether containers are to be told of proxies, which docker-py does."""
    file = file_of_home(CONTEXTS)
    if file is None:
        return False
    try:
        return "proxies" in json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return True
