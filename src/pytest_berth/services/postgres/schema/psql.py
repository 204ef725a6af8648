"""Runs files that only psql understands: those with backslash lines."""

from __future__ import annotations

import glob
import os
import re
import shutil
from typing import TYPE_CHECKING

from pytest_berth.errors import SchemaError, SettingsError
from pytest_berth.schema import run_program
from pytest_berth.schema.steps import tail

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_berth.schema.steps import Target

PLACES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/libpq/bin",
    "/usr/local/opt/libpq/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "C:/Program Files/PostgreSQL/*/bin",
)
FOREIGN = re.compile(r'role ".*" does not exist|unrecognized configuration parameter')
FOREIGN_DUMP = (
    "if it comes from a dump: use pg_dump --no-owner --no-privileges, of the server's version"
)
NO_EXTENSION = re.compile(
    r'extension "(.*)" is not available|could not open extension control file ".*/(.*)\.control"'
)
PLACE = re.compile(r"^psql:.*:(\d+): (.*)", re.MULTILINE)


def program(name: str) -> str:
    """Return the path of psql: on PATH, else in a usual place, the newest first.

    Raises:
        SettingsError: There is none; *name* is the file that needs it.
    """
    found = shutil.which("psql") or next(filter(None, map(_in_place, PLACES)), None)
    if found is None:
        raise SettingsError(
            f"{name} needs the program psql, which was not found.",
            why="it has backslash lines, or a COPY to stdout, which only psql understands",
            remedy="install it (Debian: apt install postgresql-client, macOS: brew install libpq), "
            "or take such lines out: a dump of pg_dump needs none",
        )
    return found


def run(path: Path, name: str, target: Target) -> None:
    """Let psql run a file; it stops at the first error.

    Raises:
        SchemaError: A statement failed.
        SettingsError: There is no psql.
    """
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    place = {key: str(value) for key, value in conninfo_to_dict(target.dsn).items()}
    environment = target.variables() | {"PGPASSWORD": place.pop("password", "")}
    # A command line can be read by every user of the machine: no password in it.
    command = [program(name), "-X", "-q", "-w", "-v", "ON_ERROR_STOP=1", "-f", str(path)]
    command += ["-d", make_conninfo(**place)]
    done = run_program.run(command, target.root, environment)
    if done.code != 0:
        raise _failure(name, path, target.redact(done.output), command[0])


def remedy(output: str) -> str:
    """Return what to do where a dump needs what the server has not; empty where that is no help."""
    missing = NO_EXTENSION.search(output)
    if missing:
        name = missing[1] or missing[2]
        return (
            f"let berth use a server that has {name!r}: an image with it, such as"
            " berth_pg_image = postgis/postgis:17-3.5, or its package beside the local server; or"
            f" dump without it, as pg_dump 17 can: --exclude-extension={name}"
        )
    return FOREIGN_DUMP if FOREIGN.search(output) else ""


def _failure(name: str, path: Path, output: str, psql: str) -> SchemaError:
    place = PLACE.search(output)
    told = remedy(output)
    if r"invalid command \restrict" in output:
        told = f"{psql} is older than the dump: update it, or delete the line"
    if not place:
        return SchemaError(f"psql failed on {name}.", why=tail(output), remedy=told)
    number, message = place.groups()
    lines = path.read_text("utf-8", "replace").split("\n")
    shown = f"{number} | {lines[int(number) - 1].strip()}"
    message = re.sub(r"^(ERROR|error):\s+", "", message)
    return SchemaError(
        f"{name}:{number} failed: {message}", why=f"{shown}\n{tail(output)}", remedy=told
    )


def _in_place(pattern: str) -> str | None:
    places = sorted(glob.glob(pattern), key=_version, reverse=True)  # noqa: PTH207
    found = (shutil.which("psql", path=place) for place in places)
    return next(filter(None, found), None)


def _version(place: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", place.replace(os.sep, "/"))]
