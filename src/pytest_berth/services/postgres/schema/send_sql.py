"""Sends an SQL file to a server, and tells which line it refused."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytest_berth.errors import SchemaError
from pytest_berth.services.postgres.schema import find_statements, psql

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg
    import sqlalchemy

    from pytest_berth.schema.steps import Target
    from pytest_berth.services.postgres.schema.sql_script import Script

REMEDIES = {
    "25001": "the statements of a file share a transaction: put this one into a file of its own",
    "3F000": "create the schema before it: CREATE SCHEMA IF NOT EXISTS ...",
    "42501": "let berth use a role that may do this, such as the owner or a superuser",
    "42704": psql.FOREIGN_DUMP,
}


def send_alone(script: Script, target: Target) -> None:
    """Send a file on a connection of its own.

    Raises:
        SchemaError: A statement failed, or a transaction was left open.
    """
    import psycopg

    text = script.to_send()
    try:
        connection = psycopg.connect(target.dsn, autocommit=True, client_encoding="utf8")
    except psycopg.OperationalError as error:
        why = target.redact(str(error))
        raise SchemaError(f"{script.name} could not be sent: no connection.", why=why) from error
    try:
        _send(connection, script, text)
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
    with _same_search_path(connection, script):
        _send_in_transaction(script, connection)


@contextmanager
def _same_search_path(connection: sqlalchemy.Connection, script: Script) -> Iterator[None]:
    # Every dump empties search_path; outside the transaction of a test, a SET ends with its file.
    if "search_path" not in script.text:
        yield
        return
    import sqlalchemy

    before = connection.exec_driver_sql("SHOW search_path").scalar_one()
    yield
    restore = sqlalchemy.text("SELECT set_config('search_path', :before, true)")
    connection.execute(restore, {"before": before})


def _send_in_transaction(script: Script, connection: sqlalchemy.Connection) -> None:
    import psycopg

    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        _send_with(connection, script)
        return
    if driver.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
        # psycopg sends its BEGIN with the first statement, and not with one sent beside it.
        connection.exec_driver_sql("SELECT 1")
    _send(driver, script, script.to_send())


def _send(connection: psycopg.Connection[Any], script: Script, text: bytes) -> None:
    from psycopg import errors, generators, pq

    # Not cursor.execute(): only the number of results tells which statement failed, when the
    # server names no position (a violated constraint has none).
    connection.pgconn.send_query(text)
    results = connection.wait(generators.execute(connection.pgconn))
    if results and results[-1].status == pq.ExecStatus.FATAL_ERROR:
        error = errors.error_from_result(results[-1])
        raise _failure(script, error, len(results) - 1) from error


def _send_with(connection: sqlalchemy.Connection, script: Script) -> None:
    cursor = connection.connection.cursor()
    try:
        cursor.execute(script.to_send().decode())
    except connection.dialect.loaded_dbapi.Error as error:
        raise _failure(script, error, None) from error
    finally:
        cursor.close()


def _failure(script: Script, error: Exception, statement: int | None) -> SchemaError:
    diag = getattr(error, "diag", None)
    said = {name: getattr(diag, name, None) for name in ("message_detail", "message_hint")}
    place, shown = _place(script, _offset(script.text, diag, statement))
    why = [
        shown,
        *(f"{name[8:].upper()}: {text}" for name, text in said.items() if text),
        *(f"CONTEXT: {text}" for text in [getattr(diag, "context", None)] if text),
    ]
    message = getattr(diag, "message_primary", None) or str(error)
    remedy = psql.remedy(message) or REMEDIES.get(getattr(diag, "sqlstate", None) or "", "")
    return SchemaError(f"{place} failed: {message}", why="\n".join(why).strip(), remedy=remedy)


def _place(script: Script, offset: int | None) -> tuple[str, str]:
    if offset is None:
        return script.name, ""
    line = find_statements.line_at(script.text, offset)
    text = script.text.split("\n")[line - 1].strip()
    return f"{script.name}:{line}", f"{line} | {text}"


def _offset(text: str, diag: object, statement: int | None) -> int | None:
    position = getattr(diag, "statement_position", None)
    if position:
        return int(position) - 1
    if statement is None:
        return None
    sent = [found.start for found in find_statements.statements(text) if not found.meta]
    return sent[statement] if statement < len(sent) else None
