"""The ini options of Postgres."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_berth.config import common_options as common
from pytest_berth.config.descriptor import Marker
from pytest_berth.config.options import Option, choice, lines, seconds, text, words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DATABASE = "database"
ISOLATIONS = ("auto", "rollback", "truncation", DATABASE, "none")
# Port and place of the data are settled by the source that runs the server.
_SETTLED = {"port", "data_directory"}
# PostgreSQL cuts off what is longer.
_LONGEST = 63


def _version(value: str) -> str:
    version = value.strip()
    major, _, minor = version.partition(".")
    if not major.isdigit() or (minor and not minor.isdigit()):
        raise ValueError("use a major version such as 17, or an exact one such as 17.6")
    if int(major) < 13:
        raise ValueError("use 13 or newer")
    return version


def _url(value: str) -> str:
    url = value.strip()
    scheme = url.partition("://")[0].partition("+")[0]
    if scheme not in {"postgresql", "postgres"} or "://" not in url:
        raise ValueError("use a URL such as postgresql://user:password@host:5432/database")
    from pytest_berth.services.postgres import urls

    urls.server(url, reason="")
    return url


def _scope(value: str) -> str:
    if value.strip() == common.TEST:
        raise ValueError("use run or worker; berth_pg_isolation = database is for each test")
    return choice(common.RUN, common.WORKER)(value)


def _name(value: str) -> str:
    name = value.strip()
    if len(name.encode()) > _LONGEST:
        raise ValueError(f"use a name of at most {_LONGEST} bytes")
    return name


def _user(value: str) -> str:
    user = _name(value)
    if user.startswith("pg_"):
        raise ValueError("use another name: PostgreSQL keeps those with pg_ for itself")
    return user


def _database_name(value: str) -> str:
    name = _name(value)
    if name in {"template0", "template1"} or name.startswith("berth_"):
        raise ValueError("use another name: template0, template1 and berth_... are taken")
    return name


class Named(NamedTuple):
    """A further database: its name, and the lines that make it, schema first."""

    name: str
    lines: tuple[str, ...]

    def __str__(self) -> str:
        """Return the line that it was written as."""
        return f"{self.name} = {'; '.join(self.lines)}"


def _databases(value: list[str]) -> tuple[Named, ...]:
    return tuple(map(_database, lines(value)))


def _database(line: str) -> Named:
    name, equals, makers = (part.strip() for part in line.partition("="))
    if not equals or not re.fullmatch(r"[a-z][a-z0-9]{0,19}", name):
        raise ValueError(
            "use lines such as billing = billing.models:Base.metadata; tests/billing.sql,"
            " with a name of at most 20 letters and digits"
        )
    return Named(name, tuple(part.strip() for part in makers.split(";") if part.strip()))


VERSION: Option[str] = Option(
    "berth_pg_version",
    _version,
    "17",
    "version of PostgreSQL: a major (default 17), or an exact one",
)
IMAGE = common.image_such_as("pg", "postgis/postgis:17-3.5 (default postgres:<version>-alpine)")
URL: Option[str] = Option(
    "berth_pg_url",
    _url,
    "",
    "URL of a PostgreSQL that is there already; it is never started, stopped or reset",
    flag="--berth-pg-url",
)
SOURCE = common.source("pg", "PostgreSQL")
SCOPE: Option[str] = Option(
    "berth_pg_scope",
    _scope,
    common.RUN,
    "who shares a server: the run (default), or a worker, which has one for itself",
)
USER: Option[str] = Option(
    "berth_pg_user",
    _user,
    "",
    "user of the server that berth starts, for an application that cannot be told (default berth)",
)
PASSWORD: Option[str] = Option(
    "berth_pg_password",
    text,
    "",
    "password of that user (default a new one for each run)",
)
DATABASE_NAME: Option[str] = Option(
    "berth_pg_database",
    _database_name,
    "",
    "name of the database that tests work in (default a new one for each run and worker)",
)
PORT = common.port("pg", "server", 5433)
SETTINGS = common.server_settings("pg", "server", "work_mem = 64MB", _SETTLED.__contains__)
ALLOW_RESET = common.allow_reset("pg", "databases on an external server whose data")
SCHEMA = common.schema("pg")
SEED = common.seed("pg")
DATABASES: Option[tuple[Named, ...]] = Option(
    "berth_pg_databases",
    _databases,
    (),
    "further databases: lines such as billing = billing.models:Base.metadata; tests/billing.sql",
    type="linelist",
)
FACTORIES = common.factories("pg")
ALEMBIC_DRIFT = common.alembic_drift("pg")
FINGERPRINT: Option[tuple[str, ...]] = Option(
    "berth_pg_fingerprint",
    words,
    (),
    "files (globs) that functions and commands of schema and seeds depend on",
    type="linelist",
)
ISOLATION: Option[str] = Option(
    "berth_pg_isolation",
    choice(*ISOLATIONS),
    "auto",
    "how each test gets a clean slate: auto (default), rollback, truncation, database or none",
)
LOCK_TIMEOUT: Option[float] = Option(
    "berth_pg_lock_timeout",
    seconds,
    5.0,
    "seconds that a clean-up waits for locks which a test has left (default 5)",
)
ASYNC_DRIVER: Option[str] = Option(
    "berth_pg_async_driver",
    choice("psycopg", "asyncpg"),
    "psycopg",
    "driver of pg_async_engine and its kin: psycopg (default), or asyncpg, which cannot roll back",
)
OPTIONS: tuple[Option[Any], ...] = (
    VERSION,
    IMAGE,
    URL,
    SOURCE,
    SCOPE,
    USER,
    PASSWORD,
    DATABASE_NAME,
    PORT,
    SETTINGS,
    ALLOW_RESET,
    SCHEMA,
    SEED,
    DATABASES,
    FACTORIES,
    ALEMBIC_DRIFT,
    FINGERPRINT,
    ISOLATION,
    LOCK_TIMEOUT,
    ASYNC_DRIVER,
)


class PgMarker(NamedTuple):
    """What ``@pytest.mark.berth_pg`` says about a test."""

    isolation: str | None = None
    seed: Sequence[object] | Mapping[str, object] = ()
    max_queries: int | None = None


def berth_pg(
    *,
    isolation: str | None = None,
    seed: Sequence[object] | Mapping[str, object] = (),
    max_queries: int | None = None,
) -> PgMarker:
    """Take the arguments of ``@pytest.mark.berth_pg``.

    Args:
        isolation: ``auto``, ``rollback``, ``truncation``, ``database`` or ``none``.
        seed: Lines as in ``berth_pg_seed``, or rows by the names of tables, applied before the test
            and gone after it; ``{name}`` in a line stands for the test's parameter.
        max_queries: How many statements the test may send, without those of its fixtures.
    """
    return PgMarker(isolation, [seed] if isinstance(seed, str) else seed, max_queries)


MARKER = Marker(
    berth_pg,
    "berth_pg(isolation=None, seed=(), max_queries=None): how the test gets a clean Postgres: auto,"
    " rollback, truncation, database or none; what it finds there besides the run's seeds; and how"
    " many statements it may send",
)
