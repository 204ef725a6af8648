"""What MySQL is to the plugin: its name, settings, fixtures and placeholders."""

from __future__ import annotations

from pytest_berth.config.common_options import TEST
from pytest_berth.config.descriptor import Dedicated, FromCompose, Service
from pytest_berth.services.mysql import options as ini

MYSQL = Service(
    "mysql",
    "pytest_berth.services.mysql.backend:MySQL",
    label="MySQL",
    version=ini.VERSION,
    image=ini.IMAGE,
    url=ini.URL,
    source=ini.SOURCE,
    settings=ini.SETTINGS,
    scope=ini.SCOPE,
    port=ini.PORT,
    options=ini.OPTIONS,
    extra="mysql",
    packages=("pymysql",),
    fixtures=(
        "mysql_engine",
        "mysql_connection",
        "mysql_session",
        "mysql_async_engine",
        "mysql_async_connection",
        "mysql_async_session",
        "mysql_dsn",
    ),
    fixture_module="pytest_berth.services.mysql.fixtures",
    needs=("mysql_schema", "mysql_seed"),
    address_help="SQLAlchemy URL, as text, of this worker's database. A test that uses it gets the"
    " isolation\n    ``truncation``, as it may commit.",
    placeholders=(
        "mysql_url",
        "mysql_dsn",
        "mysql_host",
        "mysql_port",
        "mysql_user",
        "mysql_password",
        "mysql_database",
    ),
    marker=ini.MARKER,
    dedicated=Dedicated(
        ini.SCOPE,
        TEST,
        {
            "_mysql_namespace": "_mysql_dedicated_namespace",
            "mysql_server": "_mysql_dedicated_server",
            "mysql_url": "_mysql_dedicated_url",
            "mysql_engine": "_mysql_dedicated_engine",
            "mysql_async_engine": "_mysql_dedicated_async_engine",
            "mysql_dsn": "_mysql_dedicated_dsn",
        },
    ),
    compose=FromCompose(
        images=("mysql", "mariadb"),
        accounts=[
            f"{kind}_{name}"
            for kind in ("MYSQL", "MARIADB")
            for name in ("DATABASE", "USER", "PASSWORD", "ROOT_PASSWORD", "ROOT_HOST")
        ],
        without_effect=(
            *("TZ", "MYSQL_ALLOW_EMPTY_PASSWORD", "MARIADB_ALLOW_EMPTY_ROOT_PASSWORD"),
            *("MYSQL_RANDOM_ROOT_PASSWORD", "MARIADB_RANDOM_ROOT_PASSWORD"),
            *("MARIADB_AUTO_UPGRADE", "MYSQL_INITDB_SKIP_TZINFO", "MARIADB_INITDB_SKIP_TZINFO"),
        ),
        init_scripts=ini.SCHEMA,
        settings=ini.SETTINGS,
    ),
    usual_start=1.5,
)
