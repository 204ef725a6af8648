from pathlib import Path

from pytest_postgresql import factories

postgresql_proc = factories.postgresql_proc(load=[Path("schema.sql")])
postgresql = factories.postgresql("postgresql_proc")
