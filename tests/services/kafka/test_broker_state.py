"""What tests can change on a broker, as several workers look at it at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from pytest_berth.services.kafka import broker_state
from pytest_berth.services.kafka.brokers import Brokers

WORKERS = 6


def test_workers_that_wait_for_the_broker_at_once_do_not_hold_each_other_up(
    kafka_bootstrap: str,
) -> None:
    def catch_up(_: int) -> None:
        brokers = Brokers(kafka_bootstrap)
        try:
            for _ in range(10):
                broker_state.catch_up(brokers)
        finally:
            brokers.close()

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(catch_up, range(WORKERS)))

    brokers = Brokers(kafka_bootstrap)
    try:
        assert not broker_state.look(brokers).quotas
    finally:
        brokers.close()
