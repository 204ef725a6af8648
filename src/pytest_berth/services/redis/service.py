"""What Redis is to the plugin: its name, settings, fixtures and placeholders."""

from __future__ import annotations

from pytest_berth.config.descriptor import FromCompose, Service
from pytest_berth.services.redis import options as ini

REDIS = Service(
    "redis",
    "pytest_berth.services.redis.backend:Redis",
    version=ini.VERSION,
    image=ini.IMAGE,
    url=ini.URL,
    source=ini.SOURCE,
    settings=ini.SETTINGS,
    scope=ini.SCOPE,
    port=ini.PORT,
    options=ini.OPTIONS,
    extra="redis",
    packages=("redis",),
    fixtures=("redis_client", "redis_async_client"),
    fixture_module="pytest_berth.services.redis.fixtures",
    address_help="URL of this worker's database number: ``redis://:password@127.0.0.1:15379/0``.",
    placeholders=("redis_url", "redis_host", "redis_port", "redis_db", "redis_password"),
    marker=ini.MARKER,
    compose=FromCompose(
        images=("redis", "valkey/valkey", "redis/redis-stack-server"),
        without_effect=("TZ",),
        settings=ini.SETTINGS,
    ),
    reusable=True,
    claims=True,
    usual_start=0.1,
)
