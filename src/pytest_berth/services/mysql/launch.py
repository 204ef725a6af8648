"""How a MySQL or MariaDB server is launched."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from pytest_berth.api import Container, Credentials, LocalPart, LocalProcess
from pytest_berth.config.options import ARTIFACT_MIRROR
from pytest_berth.services.mysql import options as ini
from pytest_berth.services.mysql.urls import USUAL_PORT
from pytest_berth.sources import programs

if TYPE_CHECKING:
    from pytest_berth.api import LocalRequest
    from pytest_berth.config.options import Settings
    from pytest_berth.errors import BerthError

_EVENTS = ("statements", "waits", "stages", "transactions")
# Room for events that nobody asks for: half of what the server takes at rest.
_NOT_RECORDED = {
    f"loose_performance_schema_{name}": "0"
    for name in (
        *("digests_size", "max_digest_length", "max_sql_text_length"),
        *("accounts_size", "hosts_size", "users_size", "session_connect_attrs_size"),
        *(f"events_{kind}_history_size" for kind in _EVENTS),
        *(f"events_{kind}_history_long_size" for kind in _EVENTS),
        *(
            f"max_{kind}_classes"
            for kind in ("mutex", "rwlock", "cond", "socket", "stage", "memory")
        ),
    )
}
# ``loose_``: what only one of MySQL and MariaDB knows, the other one passes over.
FIT_FOR_TESTS = {
    "innodb_flush_log_at_trx_commit": "0",
    "innodb_flush_method": "nosync",
    "innodb_doublewrite": "OFF",
    "loose_innodb_log_file_size": "8M",
    "loose_innodb_stats_persistent": "OFF",
    "skip_log_bin": "",
    "skip_name_resolve": "",
    "loose_mysqlx": "OFF",
    # Events of the template would change what its clones are restored from.
    "event_scheduler": "OFF",
    # MariaDB makes itself a key at each start from 11.4 on, which takes seconds.
    "loose_ssl": "OFF",
    "loose_auto_generate_certs": "OFF",
    "max_connections": "300",
    # By itself a day or a year: a lock of another session's is to be an error, and no hang.
    "lock_wait_timeout": "60",
    # It counts what is written to each table, and nothing else: that is how dirty ones are found.
    "performance_schema": "ON",
    "performance_schema_instrument": "%=OFF",
    # Caches of engines that keep next to nothing here.
    "loose_aria_pagecache_buffer_size": "8M",
    "key_buffer_size": "8M",
    **_NOT_RECORDED,
}
_COUNTS_WRITES = "--performance-schema-instrument=wait/io/table/sql/handler=ON"
_USER = "root"
_PASSWORD_FILE = "/berth/password"
_DATA = "/var/lib/mysql"
# An account that is let in from everywhere: with names not resolved, none of the others is. What an
# installation makes besides has no password.
_ACCOUNT = """\
CREATE USER IF NOT EXISTS '{user}'@'%' IDENTIFIED BY '{password}';
GRANT ALL ON *.* TO '{user}'@'%' WITH GRANT OPTION;
ALTER USER '{user}'@'localhost' ACCOUNT LOCK;
"""
_NO_OTHERS = """\
DELETE FROM mysql.global_priv WHERE User = 'root' AND Host NOT IN ('localhost', '%');
FLUSH PRIVILEGES;
"""


def credentials() -> Credentials:
    """Return a new password for the root account, and a token."""
    return Credentials(_USER, secrets.token_hex(16), "", token=f"berth-{secrets.token_hex(16)}")


def image(settings: Settings) -> str:
    """Return the container's image: the one that is set, or the usual one of the version."""
    version = settings[ini.VERSION]
    kind = "mariadb" if ini.is_mariadb(version) else "mysql"
    return settings[ini.IMAGE] or f"{kind}:{version}"


def container(settings: Settings, credentials: Credentials) -> Container:
    """Describe the container, through the interface of the official images."""
    names = ("MYSQL_ROOT_PASSWORD_FILE", "MARIADB_ROOT_PASSWORD_FILE")
    # The port inside is the one outside, too, where an engine lets containers be reached directly.
    port = settings[ini.PORT] or USUAL_PORT
    command = [*_arguments(settings, credentials), f"--port={port}"]
    files = {_PASSWORD_FILE: credentials.password.encode()}
    environment = dict.fromkeys(names, _PASSWORD_FILE)
    return Container(image(settings), port, environment, command, files, in_memory=[_DATA])


def local_obstacle(settings: Settings) -> BerthError | None:
    """Tell why there is neither an installed server nor an artifact for this machine."""
    from pytest_berth.services.mysql import binaries

    return programs.local_obstacle(binaries, _wanted(settings))


def local_parts(settings: Settings) -> list[LocalPart]:
    """Return the installed server, or the pinned one."""
    from pytest_berth.services.mysql import binaries

    return programs.local_parts(binaries, _wanted(settings))


def local(settings: Settings, request: LocalRequest) -> LocalProcess:
    """Describe the process; its password is in a file that only the server's user can read."""
    from pytest_berth.services.mysql import binaries

    found = binaries.find(
        _wanted(settings), mirror=settings[ARTIFACT_MIRROR], progress=request.progress
    )
    directory, account = request.directory, request.credentials
    place = [f"--datadir={directory / 'data'}", f"--tmpdir={directory}"]
    listening = ["--bind-address=127.0.0.1", f"--port={request.port}", "--socket=mysqld.sock"]
    begin = [*listening, "--pid-file=mysqld.pid", f"--init-file={directory / 'account.sql'}"]
    given = _ACCOUNT.format(user=account.user, password=account.password)
    statements = (_NO_OTHERS if found.is_mariadb else "") + given
    return LocalProcess(
        version=found.version,
        detail=found.origin,
        prepare=[[*found.install, *place, "--innodb-flush-method=nosync"]],
        command=[*found.command, *place, *begin, *_arguments(settings, account), *_CHARSET],
        files={"account.sql": statements.encode()},
        data="data",
    )


# As the images have it; what else they set is the servers' own default.
_CHARSET = ("--character-set-server=utf8mb4",)


def local_shape(settings: Settings) -> list[str]:
    """Return what makes one process differ from another: programs and settings."""
    from pytest_berth.services.mysql import binaries

    found = programs.local_identity(binaries, _wanted(settings))
    return [*found, *_arguments(settings, Credentials("", "", "")), *_CHARSET]


def _wanted(settings: Settings) -> str:
    """Return the version that was asked for, empty where any will do."""
    return "" if settings.origin(ini.VERSION) == "default" else settings[ini.VERSION]


def _arguments(settings: Settings, credentials: Credentials) -> list[str]:
    values = dict(FIT_FOR_TESTS)
    for pair in settings[ini.SETTINGS]:
        name, _, value = pair.partition("=")
        values[name.strip().lower().replace("-", "_")] = value.strip()
    if credentials.token:
        values[ini.TOKEN] = credentials.token
    given = [
        f"--{name.replace('_', '-')}{'=' if value else ''}{value}" for name, value in values.items()
    ]
    return [*given, _COUNTS_WRITES]
