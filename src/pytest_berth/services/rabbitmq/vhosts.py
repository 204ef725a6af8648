"""Virtual hosts of a run: made, told from others', and removed.

Each bears the run's id in its tags. On a server given by URL, those of a run that was killed are
removed by the next run that ends there: they have the tags, they are older than a quarter of an
hour by the server's own clock, and nobody is connected to any of their run, as a living worker
always is.
"""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from pytest_berth.debug_log import debug
from pytest_berth.errors import NotOursError
from pytest_berth.services.rabbitmq import management
from pytest_berth.services.rabbitmq.management import Management

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from concurrent.futures import Future

    from pytest_berth.api import Server
    from pytest_berth.services.rabbitmq.management import Request

_MARK = "pytest-berth"
_AT = "made at "
_ALL = {"configure": ".*", "write": ".*", "read": ".*"}
_ORPHANED_AFTER = 900.0
# How many are made ahead for tests that have one of their own.
_AHEAD = 2


def make(api: Management, server: Server, name: str, run_id: str) -> None:
    """Make a virtual host, in which the server's account may do everything; or give it that back.

    Raises:
        NotOursError: There is one of that name, and it is not the run's.
    """
    there = api.ask(management.get("vhosts", name, missing=True))
    if there and not is_of(there, run_id):
        raise NotOursError(
            f"the virtual host {name} is there already, and is not this run's.",
            why=f"its tags are {', '.join(_tags(there)) or 'none'}; berth's bear the run's id",
            remedy=f"remove it if nobody needs it: rabbitmqctl delete_vhost {name}; or run again",
        )
    about = {"description": f"{_AT}{api.server_time():.0f}", "tags": f"{_MARK},{_tag(run_id)}"}
    api.ask(management.put("vhosts", name, body=about))
    api.ask(management.put("permissions", name, server.credentials.user, body=_ALL))


def is_of(there: Mapping[str, Any] | None, run_id: str) -> bool:
    """Tell whether a virtual host, as the API tells of it, is a run's."""
    return there is not None and {_MARK, _tag(run_id)} <= set(_tags(there))


def has(name: str, run_id: str) -> Callable[[Callable[[Request], Any]], bool]:
    """Return what tells a server by a virtual host of the run's."""

    def is_ours(ask: Callable[[Request], Any]) -> bool:
        return is_of(ask(management.get("vhosts", name, missing=True)), run_id)

    return is_ours


def remove_all(api: Management, run_id: str) -> None:
    """Remove the virtual hosts of a run, and those of runs that are dead."""
    there = [each for each in api.ask(management.get("vhosts")) if _MARK in _tags(each)]
    used = {
        each["vhost"] for each in api.ask(management.get("connections", query="disable_stats=true"))
    }
    now = api.server_time()
    over = {_tag(run_id), *_dead(there, used, now)}
    for each in there:
        if over & set(_tags(each)):
            debug("rabbitmq: the virtual host %s is removed", each["name"])
            api.ask(management.delete("vhosts", each["name"]))


def _dead(there: Collection[Mapping[str, Any]], used: Collection[str], now: float) -> Iterator[str]:
    """Yield the tags of runs of which nothing is new, and to which nobody is connected."""
    runs = {tag for each in there for tag in _tags(each) if tag.startswith(f"{_MARK}-")}
    for run in runs:
        own = [each for each in there if run in _tags(each)]
        if not any(each["name"] in used or _age(each, now) < _ORPHANED_AFTER for each in own):
            yield run


def _age(each: Mapping[str, Any], now: float) -> float:
    """Return how many seconds ago a virtual host was made; 0 where nothing tells."""
    _, told, at = str(each.get("description", "")).partition(_AT)
    return now - float(at) if told and at.isdigit() else 0.0


def _tag(run_id: str) -> str:
    return f"{_MARK}-{run_id}"


def _tags(there: Mapping[str, Any]) -> list[str]:
    tags = there.get("tags") or []
    return tags.split(",") if isinstance(tags, str) else list(tags)


class OwnVhosts:
    """Virtual hosts for tests that have one of their own: made ahead, removed behind them.

    Args:
        server: The server.
        prefix: What their names begin with.
        run_id: The run.
        is_ours: Tells on each new connection to the API whether that has reached the server.
    """

    def __init__(
        self,
        server: Server,
        prefix: str,
        run_id: str,
        is_ours: Callable[[Callable[[Request], Any]], bool],
    ) -> None:
        self._server = server
        self._prefix = prefix
        self._run_id = run_id
        self._api = Management(server, is_ours)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="berth-rabbitmq")
        self._ahead: list[Future[str]] = []
        self._removed: list[Future[Any]] = []

    def prepare(self) -> None:
        """Let some be made in the background."""
        while len(self._ahead) < _AHEAD:
            self._ahead.append(self._thread.submit(self._make))

    def take(self) -> str:
        """Return the name of a new one.

        Raises:
            OSError: The server does not answer.
        """
        self.prepare()
        name = self._ahead.pop(0).result()
        self.prepare()
        return name

    def give_back(self, name: str) -> None:
        """Let one be removed in the background; whoever is connected to it is disconnected."""
        self._removed.append(self._thread.submit(self._api.ask, management.delete("vhosts", name)))

    def close(self) -> None:
        """Wait until those are removed that were given back, and remove those made ahead."""
        for future in self._ahead:
            future.add_done_callback(self._drop)
        self._thread.shutdown()
        for error in filter(None, (each.exception() for each in self._removed)):
            debug("rabbitmq: a test's virtual host stays: %r", error)
        self._api.close()

    def _drop(self, made: Future[str]) -> None:
        if not made.exception():
            self._api.ask(management.delete("vhosts", made.result()))

    def _make(self) -> str:
        name = f"{self._prefix}_{secrets.token_hex(4)}"
        make(self._api, self._server, name, self._run_id)
        return name
