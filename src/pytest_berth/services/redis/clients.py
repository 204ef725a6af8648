"""redis-py's clients, set up so that nothing waits or tries again where a test would not."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from pytest_berth.compat import redis_private
from pytest_berth.debug_log import ignoring
from pytest_berth.run.startup_objects import all_objects
from pytest_berth.services.redis import urls
from pytest_berth.services.redis.options import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_berth.api import Server

# Between tests nothing takes longer: a server that is stopped, or paused, must not hang the run.
ANSWERS_WITHIN = 20.0
# What berth's own connections are called in the server's list of clients, if only at the beginning.
NAME = "pytest-berth"
_CONNECT_WITHIN = 5.0
# redis-py 8 gives up reading after 5 s, also within a longer BLPOP, and then tries ten times more.
_PATIENT: dict[str, Any] = {"socket_timeout": None, "socket_connect_timeout": _CONNECT_WITHIN}


# That each connection tells its library's version, which is looked up each time, takes 2 ms.
_UNNAMED: dict[str, Any] = (
    {"driver_info": None}
    if find_spec("redis.driver_info")
    else {"lib_name": None, "lib_version": None}
)
# Redis Enterprise alone tells of its maintenance; redis-py 7 and later asks every server for it.
_UNTOLD: dict[str, Any] = {}
if find_spec("redis.maint_notifications"):
    from redis.maint_notifications import MaintNotificationsConfig

    _UNTOLD["maint_notifications_config"] = MaintNotificationsConfig(enabled=False)


class ForeignServerError(redis.ConnectionError):
    """Another server answers at the address of the one that berth has started."""

    def __init__(self, server: Server) -> None:
        super().__init__(
            f"the server that answers at {server.host}:{server.port} is not the one that berth has"
            " started there: nothing was done on it"
        )


def berths_own(server: Server, number: int, *, answers_within: float | None = None) -> redis.Redis:
    """Return a client for berth's own commands, which delete, in a database number of a server.

    Each of its connections, made anew by redis-py or not, asks first whether it has reached the
    very server that berth has started: only that one knows its token. A password is no proof, as
    a server without one takes any from redis-py 8 (HELLO 3 AUTH). On an external server, claims
    are the proof.
    """
    options: dict[str, Any] = {"socket_timeout": answers_within or ANSWERS_WITHIN}
    if answers_within:
        options["socket_connect_timeout"] = min(answers_within, _CONNECT_WITHIN)
    if server.source != "external":
        options["redis_connect_func"] = _require_token(server)
    return client(urls.url(server, number), **options)


def _require_token(server: Server) -> Callable[[Any], None]:
    """Return what greets the server on a new connection, and refuses another one's answer."""

    def connect(connection: Any) -> None:
        connection.on_connect()
        connection.send_command("CONFIG", "GET", TOKEN, check_health=False)
        if not _is_told(connection.read_response(), server.credentials.token):
            connection.disconnect()
            raise ForeignServerError(server)
        connection.send_command("CLIENT", "SETNAME", NAME, check_health=False)
        with ignoring(redis.ResponseError, why="a test has taken the right to have a name"):
            connection.read_response()

    return connect


def _is_told(answer: Any, token: str) -> bool:
    """Tell whether the answer to CONFIG GET, a list or with RESP3 a mapping, is the token."""
    if isinstance(answer, list):
        answer = dict(zip(answer[::2], answer[1::2], strict=True))
    told = {_text(name): _text(value) for name, value in answer.items()}
    return bool(token) and told == {TOKEN: token}


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


class Packed(NamedTuple):
    """Commands as they are sent, and how many answers they get."""

    sent: bytes
    answers: int

    def __add__(self, other: object) -> Packed:
        """Return these commands, and others after them."""
        if not isinstance(other, Packed):
            return NotImplemented
        return Packed(self.sent + other.sent, self.answers + other.answers)


def packed(*commands: Sequence[str | int | bytes]) -> Packed:
    """Return commands as they are sent, so that they need not be written anew each time."""
    return Packed(b"".join(map(_written, commands)), len(commands))


def _written(command: Sequence[str | int | bytes]) -> bytes:
    words = [each if isinstance(each, bytes) else str(each).encode() for each in command]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)


def ask(client: redis.Redis, commands: Packed) -> list[Any]:
    """Send commands in one round trip; return the answers as they are, errors among them."""
    pool = client.connection_pool
    connection = redis_private.take(pool)
    try:
        connection.send_packed_command([commands.sent], check_health=False)
        return [_answer(connection) for _ in range(commands.answers)]
    except BaseException:
        connection.disconnect()
        raise
    finally:
        redis_private.put_back(pool, connection)


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error


def client(url: str, **options: Any) -> redis.Redis:
    """Return a client that waits for blocking commands, and tells at once of a closed port."""
    return redis.Redis.from_url(url, **{**_options(), **options})


def _options() -> dict[str, Any]:
    return {**_PATIENT, **_UNNAMED, **_UNTOLD, "retry": Retry(NoBackoff(), 0)}


class Clients:
    """Makes clients of one URL, each with a pool of its own: see `client`.

    Args:
        url: The URL.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._blank: redis.Redis | None = None
        self._made_by: object = None

    def new(self) -> redis.Redis:
        """Return a new client."""
        kind, made_by = redis.Redis, redis.Redis.__init__
        # A test may have put another class, or another way to make it, in the place of redis-py's.
        if self._blank is None or type(self._blank) is not kind or self._made_by is not made_by:
            self._blank, self._made_by = client(self._url), made_by
        pool = redis.ConnectionPool.from_url(self._url, **_options())
        made: redis.Redis | None = redis_private.another(self._blank, pool)
        return client(self._url) if made is None else made


def async_client(url: str) -> redis.asyncio.Redis:
    """Return the same for asyncio; it belongs to no event loop before its first command."""
    return redis.asyncio.Redis.from_url(
        url, **_PATIENT, **_UNNAMED, retry=AsyncRetry(NoBackoff(), 0)
    )


@contextmanager
def closing(opened: redis.Redis) -> Iterator[redis.Redis]:
    """Close all connections of a client, also those that a test has not given back."""
    try:
        yield opened
    finally:
        opened.connection_pool.disconnect(inuse_connections=True)
        opened.close()


@contextmanager
def closing_async(opened: redis.asyncio.Redis) -> Iterator[redis.asyncio.Redis]:
    """Close all connections of a client of asyncio, whether or not their loop lives on."""
    try:
        yield opened
    finally:
        pool = opened.connection_pool
        for connection in (*redis_private.idle(pool), *redis_private.in_use(pool)):
            redis_private.abort(connection)


def drop_idle(server: Server) -> None:
    """Let the pools of asyncio in this process connect anew to a server that was replaced.

    redis-py looks whether a connection was closed before it uses it. For asyncio, the loop would
    have had to run meanwhile, and the first command fails.
    """
    for found in all_objects():
        # By its type: an object may pretend to be of another class, or do something when asked.
        if issubclass(type(found), redis.asyncio.ConnectionPool):
            port = found.connection_kwargs.get("port", urls.USUAL_PORT)
            for connection in redis_private.idle(found) if port == server.port else ():
                redis_private.abort(connection)
