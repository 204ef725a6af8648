"""Memcached for pytest-berth: how servers are launched, asked and emptied."""

import secrets
from contextlib import closing, contextmanager
from dataclasses import replace

from pymemcache import Client, MemcacheError

from berth_memcached import ALLOW_RESET
from pytest_berth.api import (
    Backend,
    Container,
    LocalProcess,
    Namespace,
    NotOursError,
    NotReadyError,
    NotRestoredError,
)


class Memcached(Backend):
    """The service ``memcached``."""

    program = "memcached"
    default_port = 11211

    def account(self, settings):
        """Return what proves a server to be berth's: a number that the server itself tells."""
        return replace(super().account(settings), token=str(1 + secrets.randbelow(1 << 30)))

    def container(self, settings, account):
        """Describe the container."""
        return Container(self.image(settings), port=11211, command=["-b", account.token])

    def local(self, settings, request):
        """Describe the local process."""
        command = [self.program, "-l", "127.0.0.1", "-p", str(request.port)]
        command += ["-b", request.credentials.token]
        return LocalProcess(version="?", detail=self.program, command=command)

    def probe(self, server):
        """Connect once and return the server's version."""
        try:
            with closing(connect(server)) as client:
                identity(client, server)
                return client.version().decode()
        except (OSError, MemcacheError) as error:
            raise NotReadyError(f"it does not answer: {error}") from error

    @contextmanager
    def open(self, server, worker):
        """Open the server, which this worker has for itself."""
        require_ours(server, worker)
        with closing(connect(server)) as client:
            cache = Cache(server, self.url(server), client)
            cache.reset()  # at a URL, others may have written
            yield cache

    def connection_errors(self):
        """Return what pymemcache raises when a connection fails."""
        return (OSError, MemcacheError)


class Cache(Namespace):
    """A server that one worker empties after each of its tests."""

    def __init__(self, server, url, client):
        self.url = url
        self._client = client
        self._identity = identity(client, server)

    def reset(self):
        """Empty the server, provided that it is the one that was opened."""
        if identity(self._client) != self._identity:
            raise NotRestoredError("another memcached has taken the place of this worker's.")
        self._client.flush_all(noreply=False)

    def reopen(self, server):
        """Go on with the server that takes the place of a lost one."""
        self._client.close()  # it connects anew
        self._identity = identity(self._client, server)


def connect(server):
    """Return a client that gives up within seconds."""
    return Client((server.host, server.port), connect_timeout=5, timeout=5)


def identity(client, server=None):
    """Return what tells a server from the next one at its address; one of ours tells its token."""
    told = str(client.stats("settings")[b"tcp_backlog"])
    if server and server.credentials.token not in ("", told):
        raise NotOursError(f"the memcached at {server.host}:{server.port} is not berth's.")
    return client.stats()[b"pid"], told


def require_ours(server, worker):
    """Refuse to empty a server that others use."""
    address = f"{server.host}:{server.port}"
    if server.source == "external" and address not in worker.settings[ALLOW_RESET]:
        raise NotOursError(
            f"the memcached at {address} may not be emptied: it is not berth's.",
            why="tests empty the whole server, and others may have data there",
            remedy=f"{ALLOW_RESET.name} = {address}  # only if all of it may go",
        )
    if server.source == "external" and worker.workers > 1:
        raise NotOursError(
            f"several workers cannot share the memcached at {address}.",
            why="they would empty it under each other",
            remedy="run without -n, or leave berth_memcached_url out",
        )
