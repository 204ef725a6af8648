"""Launches PostgreSQL servers, and tells when they are ready."""

from __future__ import annotations

import re
import secrets
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_berth.api import Container, Credentials, LocalPart, LocalProcess
from pytest_berth.config.options import ARTIFACT_MIRROR
from pytest_berth.errors import BerthError, NotReadyError, StartError
from pytest_berth.services.postgres import options as ini
from pytest_berth.services.postgres.server import connections, parked_connection, session_pooling
from pytest_berth.sources import programs

if TYPE_CHECKING:
    from pytest_berth.api import LocalRequest, Server
    from pytest_berth.config.options import Settings

FIT_FOR_TESTS = {
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "300",
    "max_prepared_transactions": "20",
    "log_checkpoints": "off",
    # Old segments of the log are removed, not used again: no snapshot must hold them.
    "wal_recycle": "off",
    "wal_init_zero": "off",
    "log_line_prefix": "%m [%p] %d ",
    "lc_messages": "C",
}
_ENTRY = r"\S+ \S+ \S+ \[\d+\] (?P<database>\S*) "
# The same for all sources and versions: an order by code point, and Unicode's letters. These are
# the C library's, which full-text search asks even where a database has a provider of its own.
_INITDB = ("--no-sync", "--encoding=UTF8", "--locale=C")
_LETTERS = "--lc-ctype=C.UTF-8"
_LETTERS_HERE = "--lc-ctype=UTF-8" if sys.platform == "darwin" else _LETTERS
_PORT = 5432
_ANSWERS_WITHIN = 5
_USER = "berth"
_PASSWORD_FILE = "/berth/password"
_DATA = "/berth/data"
# Of a connection that failed, libpq tells no SQLSTATE, only this text, in the server's language.
_HOPELESS = {
    "password authentication failed": "user and password, with special characters quoted",
    "no pg_hba.conf entry": "the user, whom that server's pg_hba.conf has to let in from here",
    "does not exist": "user and database, which have to be there already",
    "does not support SSL": "sslmode",
    "certificate verify failed": "sslrootcert and the host's name",
}


def credentials() -> Credentials:
    """Return a new administrator's account."""
    return Credentials(_USER, secrets.token_hex(16), "postgres", token=secrets.token_hex(16))


def container(settings: Settings, credentials: Credentials) -> Container:
    """Describe the container, through the interface of the official image."""
    image = settings[ini.IMAGE] or f"postgres:{settings[ini.VERSION]}-alpine"
    environment = {
        "POSTGRES_USER": credentials.user,
        "POSTGRES_DB": credentials.database,
        "POSTGRES_PASSWORD_FILE": _PASSWORD_FILE,
        "POSTGRES_INITDB_ARGS": " ".join([*_INITDB, _LETTERS]),
        # Outside the image's VOLUME, which every start would have to fill anew.
        "PGDATA": _DATA,
    }
    # The port inside is the one outside, too, where an engine lets containers be reached directly.
    port = settings[ini.PORT] or _PORT
    command = ["postgres", *_arguments(settings, credentials), "-c", f"port={port}"]
    files = {_PASSWORD_FILE: credentials.password.encode()}
    return Container(image, port, environment, command, files, in_memory=[_DATA])


def local_obstacle(settings: Settings) -> BerthError | None:
    """Tell why there are neither installed binaries nor an artifact for this machine."""
    from pytest_berth.services.postgres.server import binaries

    return programs.local_obstacle(binaries, settings[ini.VERSION])


def local_parts(settings: Settings) -> list[LocalPart]:
    """Return the installed binaries, or the pinned ones."""
    from pytest_berth.services.postgres.server import binaries

    return programs.local_parts(binaries, settings[ini.VERSION])


def local(settings: Settings, request: LocalRequest) -> LocalProcess:
    """Describe the process."""
    from pytest_berth.services.postgres.server import binaries
    from pytest_berth.sources.artifacts import cache_directory

    found = binaries.find(
        settings[ini.VERSION],
        cache=cache_directory(),
        mirror=settings[ARTIFACT_MIRROR],
        progress=request.progress,
    )
    data = str(request.directory / "data")
    initdb = [str(found.directory / "initdb"), "-D", data, *_INITDB, _LETTERS_HERE]
    # Where it fails, what it has begun is removed by berth, its shared memory first.
    initdb += ["--auth=scram-sha-256", "--no-clean"]
    initdb += ["-U", request.credentials.user, f"--pwfile={request.directory / 'password'}"]
    server = [str(found.directory / "postgres"), "-D", data, "-p", str(request.port)]
    server += ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
    # With its data, so that nothing of it stays in /dev/shm where the server is killed.
    server += ["-c", "dynamic_shared_memory_type=mmap"]
    return LocalProcess(
        version=found.version,
        detail=found.origin,
        prepare=[initdb],
        command=[*server, *_arguments(settings, request.credentials)],
        files={"password": request.credentials.password.encode()},
        # Immediate shutdown: the data is thrown away.
        stop_signal="SIGQUIT",
        data="data",
        # Fast shutdown: sessions are ended, the data is complete.
        clean_signal="SIGINT",
    )


def local_shape(settings: Settings) -> list[str]:
    """Return what makes one process differ from another: binaries and settings."""
    from pytest_berth.services.postgres.server import binaries

    found = programs.local_identity(binaries, settings[ini.VERSION])
    # The token is another one with each start.
    arguments = _arguments(settings, replace(credentials(), token=""))
    return [*found, *_INITDB, _LETTERS_HERE, *arguments]


def probe(server: Server) -> str:
    """Connect once and return the server's version, such as ``"17.6"``.

    On a server of ours, the next step goes on with the connection.
    """
    import psycopg

    try:
        connection = connections.administrative(
            connections.connect_at_once, server, connect_timeout=_ANSWERS_WITHIN
        )
        if server.source == connections.EXTERNAL:
            session_pooling.require_own_sessions(connection, server)
    except psycopg.OperationalError as error:
        raise _not_connected(server, str(error)) from None
    reported = connection.info.parameter_status("server_version") or "?"
    parked_connection.park(server, connection)
    return reported.split()[0]


def own_log(log: str, database: str, fixed_name: str) -> str:
    """Return the entries about a worker's databases, and those about none.

    ``log_line_prefix`` names the database; private ones begin with the name of the worker's.

    Args:
        log: The log.
        database: The name of the worker's database, were it not fixed.
        fixed_name: Its name where the settings fix it.
    """
    kept, keep = [], True
    for line in log.splitlines():
        entry = re.match(_ENTRY, line)
        if entry:
            named = entry["database"]
            keep = named in {"", database, fixed_name} or named.startswith(f"{database}_")
        if keep:
            kept.append(line)
    return "\n".join(kept)


def _arguments(settings: Settings, credentials: Credentials) -> list[str]:
    values = dict(FIT_FOR_TESTS)
    for pair in settings[ini.SETTINGS]:
        name, _, value = pair.partition("=")
        values[name.strip()] = value.strip()
    if credentials.token:
        values[connections.TOKEN] = credentials.token
    return [part for name, value in values.items() for part in ("-c", f"{name}={value}")]


def _not_connected(server: Server, message: str) -> BerthError:
    text = " ".join(message.split())
    if any(sign in text for sign in _HOPELESS):
        if server.source == "external":
            hint = next(what for sign, what in _HOPELESS.items() if sign in text)
            return StartError(
                f"the server at {server.host}:{server.port} refuses the account of berth_pg_url.",
                why=text,
                remedy=f"check {hint}, in berth_pg_url"
                " (the environment's BERTH_PG_URL goes before the ini file)",
            )
        return StartError(
            f"the server at {server.host}:{server.port} refuses berth's account.",
            why=text,
            remedy=f"check port {server.port}: another server may be listening there",
        )
    if connections.CLOSED in text:
        # libpq adds that the server has ended, which it does not know.
        return NotReadyError("it closes connections before it answers: it may be coming up")
    return NotReadyError(text)
