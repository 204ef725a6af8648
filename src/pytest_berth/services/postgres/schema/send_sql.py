"""Sends an SQL file to a server, and tells which line it refused."""

from __future__ import annotations

import re
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from pytest_berth.errors import SchemaError
from pytest_berth.services.postgres.schema import find_statements, psql

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg
    import sqlalchemy

    from pytest_berth.schema.steps import Target
    from pytest_berth.services.postgres.schema.sql_script import Passage, Script

COPIED = re.compile(r"^COPY .*?, line (\d+)", re.MULTILINE)
CHUNK = 1 << 18
LONGEST = 500
REMEDIES = {
    "25001": "the statements of a file share a transaction: put this one into a file of its own",
    "3F000": "create the schema before it: CREATE SCHEMA IF NOT EXISTS ...",
    "42501": "let berth use a role that may do this, such as the owner or a superuser",
    "42704": psql.FOREIGN_DUMP,
}


# Found within UPDATE, too, where it is a column.
SET = re.compile(
    r"\bSET\s+(?:SESSION\s+|LOCAL\s+)?(?:([\w.]+)\s*(?:=|TO\b)|(SCHEMA|TIME\s+ZONE)\b)",
    re.IGNORECASE,
)
CONFIGURED = re.compile(r"\bset_config\s*\(\s*'([\w.]+)'", re.IGNORECASE)
WORDS = {"schema": "search_path", "time": "timezone"}
CURRENT = """
SELECT current_setting(:name, true) WHERE NOT EXISTS (
    SELECT FROM pg_settings WHERE lower(name) = :name AND context NOT IN ('user', 'superuser'))
"""


def send_alone(script: Script, target: Target) -> None:
    """Send a file on a connection of its own.

    Raises:
        SchemaError: A statement failed, or a transaction was left open.
    """
    import psycopg

    passages = script.passages
    script.to_send(passages[0].start, passages[0].end)
    try:
        connection = psycopg.connect(target.dsn, autocommit=True, client_encoding="utf8")
    except psycopg.OperationalError as error:
        why = target.redact(str(error))
        raise SchemaError(f"{script.name} could not be sent: no connection.", why=why) from error
    try:
        # The server makes one transaction of what it is sent at once.
        apart = len(passages) > 1 and not script.controls_transactions
        with connection.transaction() if apart else nullcontext():
            _send(connection, script, passages)
        if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            raise SchemaError(
                f"{script.name} leaves a transaction open.",
                why="it has a BEGIN without COMMIT: nothing of it would be kept",
                remedy="end it with COMMIT; a file without BEGIN is one transaction anyway",
            )
    finally:
        connection.close()


def send_inside(script: Script, connection: sqlalchemy.Connection) -> None:
    """Send a file inside the open transaction of *connection*.

    Raises:
        SchemaError: A statement failed.
    """
    with _same_settings(connection, script):
        _send_in_transaction(script, connection)


@contextmanager
def _same_settings(connection: sqlalchemy.Connection, script: Script) -> Iterator[None]:
    # Every dump empties search_path, and switches row_security off; outside the transaction of a
    # test, a SET ends with its file.
    names = _names_set(script.text)
    if not names:
        yield
        return
    import sqlalchemy

    current = sqlalchemy.text(CURRENT)
    before = {
        name: connection.execute(current, {"name": name}).scalar_one_or_none() for name in names
    }
    yield
    restore = sqlalchemy.text("SELECT set_config(:name, :value, true)")
    for name, value in before.items():
        # Those with a dot are there as soon as they are set.
        if value is not None or "." in name:
            connection.execute(restore, {"name": name, "value": value or ""})


def _names_set(text: str) -> set[str]:
    """Return the names of the settings that a text may change, and of columns perhaps."""
    found = {name.lower() for name in CONFIGURED.findall(text)}
    for name, words in SET.findall(text):
        found.add(name.lower() or WORDS[words.lower().split()[0]])
    return found


def is_psycopgs(connection: sqlalchemy.Connection) -> bool:
    """Tell whether a connection is one of psycopg 3."""
    import psycopg

    return isinstance(connection.connection.driver_connection, psycopg.Connection)


def _send_in_transaction(script: Script, connection: sqlalchemy.Connection) -> None:
    import psycopg

    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        _send_with(connection, script)
        return
    if driver.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
        # psycopg sends its BEGIN with the first statement, and not with one sent beside it.
        connection.exec_driver_sql("SELECT 1")
    _send(driver, script, script.passages)


def _send(connection: psycopg.Connection[Any], script: Script, passages: Sequence[Passage]) -> None:
    for each in passages:
        if each.rows:
            _copy(connection, script, each, each.rows)
        else:
            _send_statements(connection, script, each)


def _copy(
    connection: psycopg.Connection[Any], script: Script, passage: Passage, rows: tuple[int, int]
) -> None:
    import psycopg

    statement, content = script.to_send(passage.start, passage.end), script.rows(*rows)
    try:
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            for start in range(0, len(content), CHUNK):
                copy.write(content[start : start + CHUNK])
    except psycopg.Error as error:
        line = COPIED.search(error.diag.context or "")
        if line is None:
            raise _failure(script, error, 0, passage.start) from error
        first = find_statements.line_at(script.text, rows[0])
        raise _failure_at(script, error, first + int(line[1]) - 1) from error


def _send_statements(connection: psycopg.Connection[Any], script: Script, passage: Passage) -> None:
    from psycopg import errors, generators, pq

    text = script.to_send(passage.start, passage.end)
    # Not cursor.execute(): only the number of results tells which statement failed, when the
    # server names no position (a violated constraint has none).
    connection.pgconn.send_query(text)
    results = connection.wait(generators.execute(connection.pgconn))
    if results and results[-1].status == pq.ExecStatus.FATAL_ERROR:
        error = errors.error_from_result(results[-1])
        raise _failure(script, error, len(results) - 1, passage.start) from error


def _send_with(connection: sqlalchemy.Connection, script: Script) -> None:
    cursor = connection.connection.cursor()
    try:
        cursor.execute(script.to_send().decode())
    except connection.dialect.loaded_dbapi.Error as error:
        raise _failure(script, error, None) from error
    finally:
        cursor.close()


def _failure(
    script: Script, error: Exception, statement: int | None, start: int = 0
) -> SchemaError:
    """Return the error for what a server has refused.

    Args:
        script: What it was sent.
        error: What it says.
        statement: How many statements of the passage have succeeded, where that is known.
        start: Where the passage begins.
    """
    diag = getattr(error, "diag", None)
    offset = _offset(script.text[start:] if start else script.text, diag, statement)
    line = None if offset is None else find_statements.line_at(script.text, start + offset)
    return _failure_at(script, error, line)


def _failure_at(script: Script, error: Exception, line: int | None) -> SchemaError:
    diag = getattr(error, "diag", None)
    said = {name: getattr(diag, name, None) for name in ("message_detail", "message_hint")}
    place, shown = script.name, ""
    if line is not None:
        place, text = f"{script.name}:{line}", script.text.split("\n")[line - 1].strip()
        shown = f"{line} | {text[:LONGEST]}"
    why = [
        shown,
        *(f"{name[8:].upper()}: {text}" for name, text in said.items() if text),
        *(f"CONTEXT: {text}" for text in [getattr(diag, "context", None)] if text),
    ]
    message = getattr(diag, "message_primary", None) or str(error)
    remedy = psql.remedy(message) or REMEDIES.get(getattr(diag, "sqlstate", None) or "", "")
    return SchemaError(f"{place} failed: {message}", why="\n".join(why).strip(), remedy=remedy)


def _offset(text: str, diag: object, statement: int | None) -> int | None:
    position = getattr(diag, "statement_position", None)
    if position:
        return int(position) - 1
    if statement is None:
        return None
    sent = [found.start for found in find_statements.statements(text) if not found.meta]
    return sent[statement] if statement < len(sent) else None
