"""The ini options of MySQL and MariaDB."""

from __future__ import annotations

from typing import Any, NamedTuple

from pytest_berth.config import common_options as common
from pytest_berth.config.descriptor import Marker
from pytest_berth.config.options import Option, choice

ISOLATIONS = ("auto", "rollback", "truncation", "none")
SCHEMES = ("mysql", "mariadb")
# MariaDB's versions went on from 10; those of MySQL are lower.
_MARIADB_FROM = 10
# The variable that bears the token by which berth knows its own server. MySQL and MariaDB tell it
# to everybody, let nobody change it while they run, and use it only as a replica.
TOKEN = "report_host"
# Where the server listens, and where its files are, is settled by the source that runs it.
_SETTLED = {"port", "bind_address", "datadir", "socket", "init_file", "tmpdir", "pid_file", TOKEN}


def _version(value: str) -> str:
    version = value.strip()
    if not all(part.isdigit() for part in version.split(".")):
        raise ValueError("use a version of MySQL such as 8.4, or of MariaDB such as 11 or 10.11")
    return version


def _url(value: str) -> str:
    url = value.strip()
    if url and (url.partition("://")[0].partition("+")[0] not in SCHEMES or "://" not in url):
        raise ValueError("use a URL such as mysql://user:password@host:3306/")
    return url


def is_mariadb(version: str) -> bool:
    """Tell whether a version is one of MariaDB."""
    return int(version.partition(".")[0]) >= _MARIADB_FROM


VERSION: Option[str] = Option(
    "berth_mysql_version",
    _version,
    "8.4",
    "version of MySQL (8.4), or of MariaDB (10.11, 11, 11.4); unless it is set, a local server may"
    " be any",
)
IMAGE = common.image_such_as("mysql", "mariadb:11 (default mysql:<version>, or mariadb:<version>)")
URL: Option[str] = Option(
    "berth_mysql_url",
    _url,
    "",
    "URL of a MySQL or MariaDB that is there already; tests work in databases of their own on it",
)
SOURCE = common.source("mysql", "MySQL")
SETTINGS = common.server_settings(
    "mysql",
    "server",
    "sql_mode = ANSI_QUOTES",
    lambda name: name.lower().replace("-", "_") in _SETTLED,
)
SCOPE = common.scope("mysql", "server")
PORT = common.port("mysql", "server", 3307)
SCHEMA = common.schema("mysql")
SEED = common.seed("mysql")
ALEMBIC_DRIFT = common.alembic_drift("mysql")
FACTORIES = common.factories("mysql")
ISOLATION: Option[str] = Option(
    "berth_mysql_isolation",
    choice(*ISOLATIONS),
    "auto",
    "how each test gets a clean slate: auto (default), rollback, truncation or none",
)
OPTIONS: tuple[Option[Any], ...] = (
    VERSION,
    IMAGE,
    URL,
    SOURCE,
    SCOPE,
    PORT,
    SETTINGS,
    SCHEMA,
    SEED,
    ALEMBIC_DRIFT,
    FACTORIES,
    ISOLATION,
)


class MySQLMarker(NamedTuple):
    """What ``@pytest.mark.berth_mysql`` says about a test."""

    isolation: str | None = None
    scope: str | None = None
    seed: object = ()


def berth_mysql(
    *, isolation: str | None = None, scope: str | None = None, seed: object = ()
) -> MySQLMarker:
    """Take the arguments of ``@pytest.mark.berth_mysql``.

    Args:
        isolation: ``auto``, ``rollback``, ``truncation`` or ``none``.
        scope: ``test`` for a server of the test's own.
        seed: A line as in ``berth_mysql_seed``, or several: written before the test, gone after it.
    """
    return MySQLMarker(isolation, scope, seed)


MARKER = Marker(
    berth_mysql,
    "berth_mysql(isolation=None, scope=None, seed=()): how the test gets a clean MySQL: auto,"
    " rollback, truncation or none; what it finds there besides the run's seeds; scope='test' gives"
    " it a server of its own",
)
