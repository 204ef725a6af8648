"""In Redis: how many of each product are in stock, and a lock on each order being placed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from uuid import UUID

from redis import Redis

from order_flow.errors import BeingPlacedError, OutOfStockError

# Longer than all that placing an order waits for.
PLACED_WITHIN = 30

# All or nothing, and nobody in between.
TAKE = """
for i, key in ipairs(KEYS) do
    if tonumber(redis.call('GET', key) or 0) < tonumber(ARGV[i]) then return 0 end
end
for i, key in ipairs(KEYS) do redis.call('DECRBY', key, ARGV[i]) end
return 1
"""


def stock_key(sku: str) -> str:
    return f"stock:{sku}"


def lock_key(order_id: UUID) -> str:
    return f"placing:{order_id}"


@contextmanager
def taken(redis: Redis, quantities: Mapping[str, int]) -> Iterator[None]:
    """Take products out of stock; an error in the block puts them back."""
    keys = [stock_key(sku) for sku in quantities]
    if not redis.register_script(TAKE)(keys, list(quantities.values())):
        raise OutOfStockError
    try:
        yield
    except BaseException:
        with redis.pipeline() as pipeline:
            for key, pieces in zip(keys, quantities.values(), strict=True):
                pipeline.incrby(key, pieces)
            pipeline.execute()
        raise


@contextmanager
def placing(redis: Redis, order_id: UUID) -> Iterator[None]:
    """Let nobody else place the same order meanwhile."""
    lock = redis.lock(lock_key(order_id), timeout=PLACED_WITHIN)
    if not lock.acquire(blocking=False):
        raise BeingPlacedError
    try:
        yield
    finally:
        lock.release()
