"""What MySQL does: how servers are launched, asked, opened and cleaned."""

from __future__ import annotations

import shutil
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from pytest_berth.api import Backend, Client
from pytest_berth.services.mysql import launch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    import pytest

    from pytest_berth.api import (
        Container,
        Credentials,
        LocalPart,
        LocalProcess,
        LocalRequest,
        Server,
        Worker,
    )
    from pytest_berth.config.options import Settings
    from pytest_berth.errors import BerthError
    from pytest_berth.services.mysql.namespace import WorkerDatabase


class MySQL(Backend):
    """The service ``mysql``."""

    def account(self, settings: Settings) -> Credentials:
        """Return the root account of a server to be started."""
        return launch.credentials()

    def image(self, settings: Settings) -> str:
        """Return the container's image."""
        return launch.image(settings)

    def container(self, settings: Settings, account: Credentials) -> Container:
        """Describe the container, through the interface of the official images."""
        return launch.container(settings, account)

    def local_obstacle(self, settings: Settings) -> BerthError | None:
        """Tell why there is neither an installed server nor an artifact for this machine."""
        return launch.local_obstacle(settings)

    def local(self, settings: Settings, request: LocalRequest) -> LocalProcess:
        """Describe the local process."""
        return launch.local(settings, request)

    def local_parts(self, settings: Settings) -> Sequence[LocalPart]:
        """Return what the local process is made of."""
        return launch.local_parts(settings)

    def local_identity(self, settings: Settings) -> Sequence[str]:
        """Return what makes one local process differ from another: programs and settings."""
        return launch.local_shape(settings)

    def server_at(self, url: str) -> Server:
        """Return the external server at the URL."""
        from pytest_berth.services.mysql import urls

        return urls.server(url, reason=f"{self.service.url.name} is set")

    def url(self, server: Server) -> str:
        """Return the URL of a server, without a database."""
        from pytest_berth.services.mysql import urls

        return urls.url(server, "")

    def placeholders(
        self, server: Server, settings: Settings, run_id: str, worker: str
    ) -> Mapping[str, object]:
        """Return the placeholders' values for a worker's database."""
        from pytest_berth.services.mysql import run_databases, urls

        return urls.values(server, run_databases.name(run_id, worker))

    def probe(self, server: Server) -> str:
        """Connect once and return the server's version, such as ``"8.4.3"``."""
        from pytest_berth.services.mysql import connections

        return connections.probe(server)

    def open(self, server: Server, worker: Worker) -> AbstractContextManager[WorkerDatabase]:
        """Open the worker's database: a clone of the run's template."""
        from pytest_berth.services.mysql import namespace

        return namespace.opened(server, worker)

    def client(self, server: Server, name: str) -> Client:
        """Return the command that opens the client, MariaDB's or MySQL's, in a database."""
        from pytest_berth.services.mysql import urls

        own, *arguments = urls.client(server, name)
        there = [program for program in (own, "mariadb", "mysql") if shutil.which(program)]
        return Client(
            [next(iter(there), own), *arguments],
            {"MYSQL_PWD": server.credentials.password},
            "install a client (apt-get install mariadb-client, brew install mysql-client)",
        )

    def prompt(self, values: Mapping[str, str]) -> Mapping[str, object]:
        """Return a connection of PyMySQL, in autocommit."""
        import pymysql

        connection = pymysql.connect(
            host=values["mysql_host"],
            port=int(values["mysql_port"]),
            user=values["mysql_user"],
            password=values["mysql_password"],
            database=values["mysql_database"],
            autocommit=True,
        )
        return {"connection": connection}

    def connection_errors(self) -> tuple[type[Exception], ...]:
        """Return what PyMySQL raises when a connection fails, and SQLAlchemy."""
        import pymysql

        alchemy = sys.modules.get("sqlalchemy.exc")
        of_driver = (pymysql.OperationalError, pymysql.InterfaceError)
        return (*of_driver, *([alchemy.DBAPIError] if alchemy else ()))

    def check(self, items: Sequence[pytest.Item]) -> None:
        """Check what tests ask for, and the lines of schema and seeds."""
        from pytest_berth.services.mysql import requirements

        requirements.check(items)

    def describe_isolation(self, item: pytest.Item) -> str:
        """Describe the test's isolation, and why it was chosen."""
        from pytest_berth.services.mysql import requirements

        return str(requirements.isolation_of(item))

    def load(self, items: Sequence[pytest.Item], *, starts: bool) -> None:
        """Import what else its tests need."""
        import_module("pytest_berth.services.mysql.namespace")

    def prebuild(self, server: Server, item: pytest.Item) -> None:
        """Build the template where the settings alone say what it holds."""
        from pytest_berth.services.mysql import template

        template.build_ahead(server, item)

    def release(self, server: Server, run_id: str) -> None:
        """Drop the databases that a run has created on an external server."""
        from pytest_berth.services.mysql import run_databases

        run_databases.drop_all(server, run_id)
