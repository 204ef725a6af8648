"""What a worker's database numbers hold, and what stands beside, so that it can be put back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pytest_berth.errors import NotRestoredError
from pytest_berth.services.redis.clients import packed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import redis

    from pytest_berth.services.redis.clients import Packed
    from pytest_berth.services.redis.server_state import Standing
    from pytest_berth.services.redis.worker_databases import WorkerDatabases

_AT_ONCE = 1000
_SCRIPT = """for number, key in ipairs(KEYS) do
    redis.call('RESTORE', key, ARGV[2 * number - 1], ARGV[2 * number], 'ABSTTL')
end"""

Key = tuple[int, bytes]


class Value(NamedTuple):
    """A key's value as DUMP gives it, and when it expires: milliseconds since 1970, 0 for never."""

    dump: bytes
    expires: int


@dataclass(frozen=True)
class Baseline:
    """All keys of a worker's database numbers, and what stands on the server beside them.

    Attributes:
        values: The values by number and key.
        token: What the server said of its changes; equal tokens mean that no key has changed.
        standing: What stands beside keys; None where others use the server, too.
    """

    values: Mapping[Key, Value] = field(default_factory=dict, repr=False)
    token: tuple[int, ...] | None = None
    standing: Standing | None = field(default=None, repr=False)
    _refills: dict[int, Packed] = field(default_factory=dict, repr=False, compare=False)

    def on_another(self, began: Standing | None, there: Standing | None) -> Baseline:
        """Return this as it is to be on another server."""
        if self.standing is None or began is None or there is None:
            return Baseline(self.values)
        return Baseline(self.values, standing=self.standing.on_another(began, there))

    def refill(self, number: int, *, scripts: bool) -> Packed:
        """Return the commands that empty a number and put the keys back, at once for all others.

        A script answers once for a thousand keys. What is returned is kept, as it is mostly the
        same from test to test.
        """
        if number not in self._refills:
            own = [(key, value) for (of, key), value in self.values.items() if of == number]
            commands: Iterable[tuple[str | int | bytes, ...]]
            if scripts:
                starts = range(0, len(own), _AT_ONCE)
                commands = (_restored_by_script(own[at : at + _AT_ONCE]) for at in starts)
            else:
                commands = (_restored(key, value) for key, value in own)
            self._refills[number] = packed(("MULTI",), ("FLUSHDB",), *commands, ("EXEC",))
        return self._refills[number]

    @property
    def numbers(self) -> set[int]:
        """The numbers that hold keys."""
        return {number for number, _ in self.values}


class NotPutBackError(NotRestoredError):
    """A test has changed something on the server that cannot be put back."""

    def __init__(self, left: list[str]) -> None:
        super().__init__(
            "what the test has changed on the Redis server cannot be put back.",
            why=", ".join(left),
            remedy="later tests get another server; a test that does so is best on one of its own:"
            ' @pytest.mark.berth_redis(scope="test")',
        )


def capture(databases: WorkerDatabases, known: Baseline) -> Baseline:
    """Return what there is, *known* itself if nothing has changed since."""
    look = databases.look(token=bool(known.values))
    standing = databases.standing(look)
    if not look.filled:
        same = not known.values and known.standing == standing
        return known if same else Baseline(standing=standing)
    if look.token is not None and look.token == known.token and known.standing == standing:
        return known
    token = databases.token()
    values: dict[Key, Value] = {}
    for number in look.filled:
        for keys in batches(databases.at(number)):
            values.update(read(databases.at(number), number, keys))
    return Baseline(values, token, standing)


def restore(databases: WorkerDatabases, baseline: Baseline) -> Baseline:
    """Put everything back; return the baseline as it is from now on.

    Raises:
        NotPutBackError: Something beside the keys cannot be put back.
    """
    flush = databases.number not in baseline.numbers
    look = databases.look(token=bool(baseline.values), ending=True, flush=flush)
    # Keys that a setting (maxmemory) has evicted are no change to the server's count.
    counts_all = databases.is_seen(look, baseline.standing)
    if baseline.standing is not None:
        left = databases.put_back(look, baseline.standing)
        if left:
            raise NotPutBackError(left)
    if not baseline.values and not look.filled:
        return baseline
    if counts_all and baseline.token is not None and look.token == baseline.token:
        return baseline
    databases.dirty |= look.filled | baseline.numbers
    token = None
    for number in look.filled | baseline.numbers:
        token = databases.run(number, baseline.refill(number, scripts=databases.has_scripts()))
    return replace(baseline, token=token)


def remove_others(databases: WorkerDatabases, baseline: Baseline) -> Baseline | None:
    """Delete the keys that a baseline does not have.

    Returns:
        What is left of the baseline, without any key that has come meanwhile; None where something
        else has changed.
    """
    look = databases.look(token=bool(baseline.values))
    stands = databases.is_seen(look, baseline.standing)
    if baseline.token is not None and look.token == baseline.token:
        return baseline if stands else None
    for number in look.filled:
        client = databases.at(number)
        for keys in batches(client):
            others = [key for key in keys if (number, key) not in baseline.values]
            if others:
                client.unlink(*others)
    if not stands:
        return None
    if not baseline.values:
        return baseline
    found = capture(databases, baseline)
    left = {key: value for key, value in found.values.items() if key in baseline.values}
    token = found.token if len(left) == len(found.values) else None
    return Baseline(left, token, found.standing)


def _restored(key: bytes, value: Value) -> tuple[str | int | bytes, ...]:
    return ("RESTORE", key, value.expires, value.dump, *(["ABSTTL"] if value.expires else []))


def _restored_by_script(some: Sequence[tuple[bytes, Value]]) -> tuple[str | int | bytes, ...]:
    keys = (key for key, _ in some)
    values = (each for _, value in some for each in (value.expires, value.dump))
    return ("EVAL", _SCRIPT, len(some), *keys, *values)


def read(client: redis.Redis, number: int, keys: list[bytes]) -> Iterable[tuple[Key, Value]]:
    """Yield what those of the keys hold that are there."""
    pipeline = client.pipeline(transaction=True)
    pipeline.time()
    for key in keys:
        pipeline.dump(key)
        pipeline.pttl(key)
    (seconds, microseconds), *found = pipeline.execute()
    now = seconds * 1000 + microseconds // 1000
    for key, dump, left in zip(keys, found[::2], found[1::2], strict=True):
        if dump is not None:
            yield (number, key), Value(dump, now + left if left >= 0 else 0)


def batches(client: redis.Redis) -> Iterator[list[bytes]]:
    """Yield all keys of a number."""
    cursor = 0
    while True:
        cursor, keys = cast("Any", client.scan(cursor, count=_AT_ONCE))
        if keys:
            yield list(dict.fromkeys(keys))
        if not cursor:
            return
