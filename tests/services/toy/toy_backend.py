"""The toy service, wrong in the way that TOY_FAULT names, and right without it."""

import os
import secrets
from contextlib import closing, contextmanager
from dataclasses import replace

from toy_client import Client

from pytest_berth.api import (
    Backend,
    LocalProcess,
    Namespace,
    NotOursError,
    NotReadyError,
    NotRestoredError,
)

FAULT = os.environ.get("TOY_FAULT", "")


class Toy(Backend):
    """The service ``toy``: local processes only."""

    program = "memcached"
    default_port = 11211

    def account(self, settings):
        """Return what proves a server to be berth's."""
        return replace(super().account(settings), token=str(1 + secrets.randbelow(1 << 30)))

    def local(self, settings, request):
        """Describe the local process."""
        command = [self.program, "-l", "127.0.0.1", "-p", str(request.port)]
        command += ["-b", request.credentials.token]
        return LocalProcess(version="1", detail=self.program, command=command)

    def probe(self, server):
        """Ask who it is."""
        try:
            with closing(Client(server.host, server.port)) as client:
                token, _ = client.identity()
        except OSError as error:
            raise NotReadyError(f"it does not answer: {error}") from error
        if server.credentials.token not in ("", token) and FAULT != "takes a stranger's server":
            raise NotOursError(f"the server at {server.host}:{server.port} is not berth's.")
        return "1"

    @contextmanager
    def open(self, server, worker):
        """Open the worker's space."""
        space = Space(worker.namespace, self.url(server))
        yield space
        space.reset()


class Space(Namespace):
    """One value, by a name that no other worker has."""

    def __init__(self, name, url):
        self.name = "everybody's" if FAULT == "shares between workers" else name
        self._address = url
        self.url = f"{url}/{self.name}"
        self._identity = self._identified()

    def reset(self):
        """Empty it, provided that the server is the one that was opened."""
        if self._identified() != self._identity and FAULT != "takes a stranger's server":
            raise NotRestoredError("another server has taken the place of this worker's.")
        if FAULT != "leaves a test's data":
            self._ask(
                "flush_all" if FAULT == "empties what is of others" else f"delete {self.name}"
            )

    def reopen(self, server):
        """Go on with the server that takes the place of a lost one."""
        self._identity = self._identified()

    def _ask(self, line):
        with self._client() as client:
            return client.ask(line)

    def _identified(self):
        with self._client() as client:
            return client.identity()

    def _client(self):
        host, _, port = self._address.partition("://")[2].partition(":")
        return closing(Client(host, port))
