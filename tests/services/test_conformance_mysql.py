"""MySQL passes what every service has to: the published conformance suite."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pytest_berth.services.mysql.service import MYSQL
from pytest_berth.testing import ServiceConformance

if TYPE_CHECKING:
    from collections.abc import Mapping


class TestMySQL(ServiceConformance):
    """By SQLAlchemy, on connections that commit; the text is in the table of a schema."""

    service = MYSQL
    sources = ("container", "local")
    # The image that tests/provision.py builds; a local server may be of any version.
    settings = ("berth_mysql_schema = schema.sql", "berth_mysql_image = mariadb:11")
    files: ClassVar[Mapping[str, str]] = {
        "schema.sql": "CREATE TABLE notes (id int AUTO_INCREMENT PRIMARY KEY)",
        "notes.py": """
            from sqlalchemy import text

            def write(engine):
                with engine.begin() as connection:
                    connection.execute(text("INSERT INTO notes VALUES ()"))

            def read(engine):
                with engine.connect() as connection:
                    return connection.execute(text("SELECT id FROM notes")).all()
        """,
    }
    write = "__import__('notes').write(mysql_engine)"
    read = "__import__('notes').read(mysql_engine)"
    restores = True
