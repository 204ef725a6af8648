"""How a server is launched: mongod as a replica set of one member, so that transactions work.

A replica set with accounts needs a key by which its members know each other, in a file that nobody
else can read. Its name is a token which only that server has.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_berth.api import Container, Credentials, LocalProcess, NoSourceError
from pytest_berth.services.mongodb import options as ini
from pytest_berth.services.mongodb import urls
from pytest_berth.services.mongodb.service import MONGODB

if TYPE_CHECKING:
    from pytest_berth.api import BerthError, LocalRequest, Settings

USER = "berth"
_DATA = "/data/db"
_KEY, _PASSWORD = "/berth/keyfile", "/berth/password"
# mongod refuses a key that others may read, or that is another account's; the image's entry point
# starts it as the account mongodb.
_SCRIPT = (
    "install -m 400 -o mongodb -g mongodb /berth/keyfile /data/configdb/berth-keyfile"
    ' && exec docker-entrypoint.sh mongod "$@"'
)
_FIT_FOR_TESTS = ["--oplogSize", "128", "--wiredTigerCacheSizeGB", "0.25", "--setParameter"]
_FIT_FOR_TESTS += ["diagnosticDataCollectionEnabled=false"]
# Where mongod is besides on the PATH: packages of MongoDB's and Homebrew's, unpacked archives.
_USUAL_PLACES = ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", "/opt/mongodb*/bin")


def credentials() -> Credentials:
    """Return a new password, and the name of the replica set."""
    token = f"berth-{secrets.token_hex(8)}"
    return Credentials(USER, secrets.token_hex(16), urls.ADMIN, token=token)


def container(image: str, settings: Settings, account: Credentials) -> Container:
    """Describe the container, through the interface of the official image."""
    # The port inside is the one outside, too, where an engine lets containers be reached directly.
    port = settings[MONGODB.port] or urls.USUAL_PORT
    place = ["--bind_ip_all", "--port", str(port), "--keyFile", "/data/configdb/berth-keyfile"]
    return Container(
        image,
        port,
        {"MONGO_INITDB_ROOT_USERNAME": USER, "MONGO_INITDB_ROOT_PASSWORD_FILE": _PASSWORD},
        ["bash", "-c", _SCRIPT, "mongod", *_options(settings, account), *place],
        {_KEY: _key(account), _PASSWORD: account.password.encode()},
        in_memory=[_DATA],
    )


def local_obstacle(settings: Settings) -> BerthError | None:
    """Tell why there is no program that can serve."""
    if mongod():
        return None
    if not shutil.which("ferretdb"):
        return NoSourceError(
            "MongoDB is not installed.",
            why="there is neither a program 'mongod', on the PATH or in its usual places, nor"
            " 'ferretdb' on the PATH",
            remedy="install it, or a container engine, or set berth_mongo_url",
        )
    if settings[ini.SETTINGS]:
        return NoSourceError(
            "FerretDB cannot take the settings of MongoDB.",
            why=f"{settings.given(ini.SETTINGS)}, and there is no program 'mongod'",
            remedy="install MongoDB, or a container engine, or leave them out",
        )
    return None


def local(settings: Settings, request: LocalRequest) -> LocalProcess:
    """Describe the process: mongod's, or FerretDB's, which keeps its data in SQLite."""
    account, program = request.credentials, mongod()
    make = [["mkdir", "data"]]
    if program:
        place = ["--bind_ip", "127.0.0.1", "--port", str(request.port), "--nounixsocket"]
        place += ["--dbpath", "data", "--keyFile", "keyfile"]
        command = [program, *_options(settings, account), *place]
        return LocalProcess("?", program, make, command, {"keyfile": _key(account)})
    return LocalProcess("?", _ferretdb(), make, _of_ferretdb(request), _secret_of(account))


def mongod() -> str:
    """Return the program; empty where there is none."""
    usual = (Path("/").glob(f"{place[1:]}/mongod") for place in _USUAL_PLACES)
    found = (str(path) for paths in usual for path in sorted(paths, reverse=True))
    return shutil.which("mongod") or next(found, "")


def local_identity(settings: Settings) -> list[str]:
    """Return what makes one process differ from another: program and settings."""
    return [mongod() or _ferretdb(), settings[MONGODB.version], *settings[ini.SETTINGS]]


def _options(settings: Settings, account: Credentials) -> list[str]:
    given = [pair.partition("=") for pair in settings[ini.SETTINGS]]
    parameters = [f"{name.strip()}={value.strip()}" for name, _, value in given]
    options = [word for each in parameters for word in ("--setParameter", each)]
    return ["--replSet", account.token, *_FIT_FOR_TESTS, *options]


def _ferretdb() -> str:
    return shutil.which("ferretdb") or ""


def _of_ferretdb(request: LocalRequest) -> list[str]:
    """Return a command in which the password is in no argument."""
    script = 'FERRETDB_SETUP_PASSWORD="$(cat password)" exec "$0" "$@"'
    return [
        *("sh", "-c", script, _ferretdb()),
        *("--handler=sqlite", "--sqlite-url=file:data/", "--state-dir=data"),
        *("--telemetry=disable", "--debug-addr=-", "--log-level=error"),
        f"--listen-addr=127.0.0.1:{request.port}",
        f"--repl-set-name={request.credentials.token}",
        *("--test-enable-new-auth", f"--setup-database={urls.ADMIN}", f"--setup-username={USER}"),
    ]


def _secret_of(account: Credentials) -> dict[str, bytes]:
    return {"password": account.password.encode()}


def _key(account: Credentials) -> bytes:
    """Return the key of a set: the same for the same account, which nobody can guess."""
    return hashlib.sha256(f"{account.token} {account.password}".encode()).hexdigest().encode()
