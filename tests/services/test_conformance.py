"""Our services pass what every service has to: the published conformance suite."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pytest_berth.services.kafka.service import KAFKA
from pytest_berth.services.postgres.service import POSTGRES
from pytest_berth.services.redis.service import REDIS
from pytest_berth.testing import ServiceConformance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Each source is held to the same behaviour by tests/contracts; here one is enough.
LOCAL = ("local",)


class TestPostgres(ServiceConformance):
    """By psycopg, without SQLAlchemy; the text is in the table of a schema."""

    service = POSTGRES
    sources = LOCAL
    settings = ("berth_pg_schema = schema.sql",)
    files: ClassVar[Mapping[str, str]] = {
        "schema.sql": "CREATE TABLE notes (id serial PRIMARY KEY)",
        "notes.py": """
            import psycopg

            def write(dsn):
                with psycopg.connect(dsn) as connection:
                    connection.execute("INSERT INTO notes DEFAULT VALUES")

            def read(dsn):
                with psycopg.connect(dsn) as connection:
                    return connection.execute("SELECT count(*) FROM notes").fetchone()[0]
        """,
    }
    write = "__import__('notes').write(pg_dsn)"
    read = "__import__('notes').read(pg_dsn)"
    restores = True


class TestRedis(ServiceConformance):
    """By redis-py."""

    service = REDIS
    sources = LOCAL
    fixtures: ClassVar[Sequence[str]] = ("redis_client",)
    write = "redis_client.set('key', 'value')"
    read = "redis_client.get('key')"
    wide_write = "import redis; redis.Redis.from_url(redis_url).set('key', 'value')"
    restores = True


class TestKafka(ServiceConformance):
    """By the probe, in topics of each test's own."""

    service = KAFKA
    sources = LOCAL
    write = "kafka_probe.publish(kafka_topic, 'value')"
    read = "__import__('notes').read(kafka_probe, kafka_topic)"
    in_turn = 1  # that nothing is there is known after a second
    files: ClassVar[Mapping[str, str]] = {
        "notes.py": """
            def read(probe, topic):
                try:
                    return probe.collect(topic, timeout=1)
                except AssertionError:
                    return []
        """
    }
