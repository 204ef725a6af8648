"""What Redis is to the plugin: its name, settings, fixtures and placeholders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.services.built_in import BuiltIn
from pytest_berth.services.redis import options as ini

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_berth.api import Credentials, Server, Service
    from pytest_berth.config.options import Option, Settings
    from pytest_berth.services.rooms import Items, Launch, Urls


class Redis(BuiltIn):
    """The service ``redis``."""

    name = "redis"
    prefix = "redis"
    extra = "redis"
    packages: tuple[str, ...] = ("redis",)
    options = ini.OPTIONS
    url = ini.URL
    source = ini.SOURCE
    scope: Option[str] | None = ini.SCOPE
    port: Option[int] | None = ini.PORT
    own: Mapping[str, str] = {
        "_redis_workspace": "_redis_own_workspace",
        "redis_server": "_redis_own_server",
        "redis_url": "_redis_own_url",
    }
    claims = True
    usual_start = 0.1
    fixtures = frozenset({"redis_server", "redis_url", "redis_client", "redis_async_client"})
    placeholders = frozenset(
        {"redis_url", "redis_host", "redis_port", "redis_db", "redis_password"}
    )

    def credentials(self, settings: Settings) -> Credentials:
        """Return the account of a server to be started, with what the settings have chosen."""
        from pytest_berth.services.redis import fixed_address

        return fixed_address.chosen(settings, super().credentials(settings))

    @property
    def launch(self) -> Launch:
        """How a server is launched."""
        from pytest_berth.services.redis import launch

        return launch

    @property
    def urls(self) -> Urls:
        """How a database number is addressed."""
        from pytest_berth.services.redis import urls

        return urls

    @property
    def items(self) -> Items:
        """What a test asks for."""
        from pytest_berth.services.redis import requirements

        return requirements

    def probe(self, server: Server) -> str:
        """Connect once and return the server's version, such as ``"8.2.1"``."""
        from pytest_berth.services.redis import probe

        return probe.probe(server)

    def own_log(self, log: str, server: Server, run_id: str, worker: str) -> str:
        """Return the whole log: Redis does not log by database."""
        return log

    def release(self, server: Server, run_id: str) -> None:
        """Give back the database numbers that a run has claimed on an external server."""
        from pytest_berth.services.redis import claims

        claims.release(server, run_id)

    def condition(self, server: Server) -> Sequence[str]:
        """Describe the server's settings, users, functions and keys."""
        from pytest_berth.services.redis import reset_server

        return reset_server.condition(server)

    def renew(
        self, server: Server, run_id: str, condition: Sequence[str], password: str
    ) -> Sequence[str]:
        """Delete all keys, functions and further users, and set back what was set."""
        from pytest_berth.services.redis import reset_server

        return reset_server.renew(server, condition, password)

    def values(self, server: Server, run_id: str, worker: str) -> Mapping[str, object]:
        """Return nothing: the settings have a say in each value."""
        return {}

    def further_values(
        self, server: Server, run_id: str, worker: str, settings: Settings
    ) -> Mapping[str, object]:
        """Return the placeholders' values for a worker's database number."""
        from pytest_berth.services.redis import database_numbers, urls

        return urls.values(server, database_numbers.number(server, settings, run_id, worker))


REDIS: Service = Redis()
