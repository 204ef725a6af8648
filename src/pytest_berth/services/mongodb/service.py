"""What MongoDB is to the plugin: its name, settings, fixtures and placeholders."""

from __future__ import annotations

from pytest_berth.config.descriptor import FromCompose, Service
from pytest_berth.services.mongodb import options as ini

MONGODB = Service(
    "mongodb",
    "pytest_berth.services.mongodb.backend:MongoDB",
    prefix="mongo",
    label="MongoDB",
    version="8",
    image="mongo:{version}",
    schemes=ini.SCHEMES,
    url=ini.URL,
    settings=ini.SETTINGS,
    options=ini.OPTIONS,
    compose=FromCompose(
        images=("mongo",),
        accounts=(
            *("MONGO_INITDB_ROOT_USERNAME", "MONGO_INITDB_ROOT_PASSWORD", "MONGO_INITDB_DATABASE"),
        ),
        without_effect=("TZ",),
    ),
    extra="mongodb",
    packages=("pymongo",),
    fixtures=("mongo_client", "mongo_database", "mongo_async_client", "mongo_async_database"),
    fixture_module="pytest_berth.services.mongodb.fixtures",
    address_help="URL of this worker's database: ``mongodb://berth:password@127.0.0.1:15379/name?…``.",
    placeholders=(
        "mongo_url",
        "mongo_host",
        "mongo_port",
        "mongo_db",
        "mongo_user",
        "mongo_password",
    ),
    usual_start=4.0,
)
