"""What PostgreSQL is to the plugin: its name, settings, fixtures and placeholders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.config.descriptor import Dedicated, FromCompose, Service
from pytest_berth.services.postgres import options as ini

if TYPE_CHECKING:
    from pytest_berth.config.options import Settings


def _of_named_databases(settings: Settings) -> frozenset[str]:
    """Return the names of the placeholders for the databases that the settings name."""
    from pytest_berth.services.postgres import urls

    named = settings[ini.DATABASES]
    return frozenset(name for each in named for name in urls.placeholders(each.name))


POSTGRES = Service(
    "postgres",
    "pytest_berth.services.postgres.backend:Postgres",
    prefix="pg",
    label="PostgreSQL",
    version=ini.VERSION,
    image=ini.IMAGE,
    url=ini.URL,
    source=ini.SOURCE,
    settings=ini.SETTINGS,
    scope=ini.SCOPE,
    port=ini.PORT,
    options=ini.OPTIONS,
    extra="postgres",
    packages=("psycopg",),
    fixtures=(
        "pg_dsn",
        "pg_engine",
        "pg_connection",
        "pg_session",
        "pg_database",
        "pg_databases",
        "pg_peek_url",
        "pg_async_engine",
        "pg_async_connection",
        "pg_async_session",
        "pg_queries",
    ),
    fixture_module="pytest_berth.services.postgres.fixtures",
    needs=("pg_schema", "pg_seed"),
    address_help="SQLAlchemy URL, as text, of this worker's database. A test that uses it gets the"
    " isolation\n    ``truncation``, as it may commit.",
    placeholders=(
        "pg_url",
        "pg_dsn",
        "pg_host",
        "pg_port",
        "pg_user",
        "pg_password",
        "pg_database",
    ),
    further_placeholders=_of_named_databases,
    marker=ini.MARKER,
    dedicated=Dedicated(
        ini.ISOLATION,
        ini.DATABASE,
        {
            "pg_url": "_pg_private_url",
            "pg_dsn": "_pg_private_dsn",
            "pg_engine": "_pg_private_engine",
            "pg_async_engine": "_pg_private_async_engine",
        },
    ),
    compose=FromCompose(
        images=(
            *("postgres", "postgis/postgis", "pgvector/pgvector", "ankane/pgvector"),
            *("timescale/timescaledb", "timescale/timescaledb-ha"),
        ),
        environment={
            "POSTGRES_USER": ini.USER,
            "POSTGRES_PASSWORD": ini.PASSWORD,
            "POSTGRES_DB": ini.DATABASE_NAME,
        },
        without_effect=("PGDATA", "POSTGRES_HOST_AUTH_METHOD", "TZ", "PGTZ"),
        defaults={ini.DATABASE_NAME: ini.USER},
        init_scripts=ini.SCHEMA,
        settings=ini.SETTINGS,
        scope=ini.SCOPE,
        alone_with=ini.DATABASE_NAME,
    ),
    snapshots=True,
    reusable=True,
    usual_start=0.5,
)
