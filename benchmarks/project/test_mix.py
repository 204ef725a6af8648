"""Tests of every common kind: as many of each as of the others."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from models import User
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

if TYPE_CHECKING:
    import redis

    from pytest_berth import KafkaProbe

numbered = pytest.mark.parametrize("number", range(int(os.environ["BENCHMARK_TESTS"])))


@numbered
def test_rolled_back(pg_session: Session, number: int) -> None:
    pg_session.add(User(email="a@example.com"))
    pg_session.commit()
    assert pg_session.scalars(select(User.email)).all() == ["a@example.com"]


@numbered
def test_truncated(pg_engine: Engine, number: int) -> None:
    with Session(pg_engine) as session:
        session.add(User(email="a@example.com"))
        session.commit()
        assert session.scalars(select(User.email)).all() == ["a@example.com"]


@numbered
@pytest.mark.berth_pg(isolation="database")
def test_private_database(pg_engine: Engine, number: int) -> None:
    with Session(pg_engine) as session:
        session.add(User(email="a@example.com"))
        session.commit()
        assert session.scalars(select(User.email)).all() == ["a@example.com"]


@numbered
def test_redis(redis_client: redis.Redis, number: int) -> None:
    assert redis_client.get("stock") is None
    redis_client.set("stock", number)
    assert redis_client.get("stock") == str(number).encode()


@numbered
def test_kafka(kafka_probe: KafkaProbe, kafka_topic: str, number: int) -> None:
    kafka_probe.publish(kafka_topic, {"order": number})
    assert kafka_probe.expect_one(kafka_topic).json() == {"order": number}
