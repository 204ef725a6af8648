"""What is taken for statements, COPY, backslash lines and transaction control."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pytest_berth.errors import SchemaError
from pytest_berth.services.postgres.schema.find_statements import statements
from pytest_berth.services.postgres.schema.sql_script import Script

if TYPE_CHECKING:
    from pathlib import Path

HIDDEN = [
    "SELECT 'COPY t FROM stdin;';",
    "SELECT 'it''s'; SELECT '\\';",
    r"SELECT E'it\'s \\ COPY t FROM stdin';",
    "SELECT $$ COPY t FROM stdin; \\. $$;",
    "SELECT $body$ $$ \\d $$ $body$;",
    "-- COPY t FROM stdin;\nSELECT 1;",
    "/* a /* nested */ COPY t FROM stdin; \\d */ SELECT 1;",
    'SELECT "COPY t FROM stdin; \\d" FROM x;',
    "COPY t FROM '/tmp/stdin.csv';",
    "SELECT a$b$c FROM stdin;",
    "SELECT a, b, c, d$x$, E'\\'; \\d', dE'\\', U&'\\', $x$;'\\d$x$, 1-/* \\d */2 -- \\d",
    "INSERT INTO t (a, b, c) VALUES (1, ')', '('); SELECT 'COPY t FROM stdin;'",
    "\\restrict abc\nINSERT INTO t VALUES (1);\n\\unrestrict abc\n",
]
PLAIN = [
    "COPY t FROM stdin WITH (FORMAT BINARY);\n1\n\\.\n",
    "COPY t FROM stdin; SELECT 1;\n1\n\\.\n",
    "COPY t FROM stdin;\n1\n\\.\n\\echo\n",
    "COPY t TO STDOUT;",
    "SELECT 1 \\gset\n",
    "\\i other.sql\n",
    "SELECT 'a'; \\echo b\n",
    "INSERT INTO t (a, b, c) VALUES (1, E'\\\\', '\\');COPY t TO stdout;",
    "SELECT a, b, c, (d; COPY t TO stdout;",
    "COPY t FROM stdin;\n\\.\n\\.\n",
]
COPIES = {
    "COPY t FROM stdin;\n1\n\\.\n": ["1\n"],
    "COPY t FROM stdin;\n1": ["1"],
    "COPY t FROM stdin;": [""],
    "copy t (a, b)\n  from STDIN with (format csv);\n1,'\n\\.\nSELECT 1": ["1,'\n"],
    "COPY t FROM stdin;\r\n1\r\n\\.\r\nSELECT 1;": ["1\r\n"],
    "\\restrict abc\nCOPY t FROM stdin; \n\\.\n\\unrestrict abc\n": [""],
    "COPY t FROM stdin;\n$$ ' ;\\.\n\\.\n;COPY t FROM stdin;\n\\\\.\n\\.\n": [
        "$$ ' ;\\.\n",
        "\\\\.\n",
    ],
}


def script(text: str, path: Path) -> Script:
    """Return *text* as it is read from a file."""
    path.write_bytes(text.encode())
    return Script.read(path, path.parent)


@pytest.mark.parametrize("text", HIDDEN)
def test_strings_and_comments_do_not_call_for_psql(text: str, tmp_path: Path) -> None:
    assert not script(text, tmp_path / "a.sql").needs_psql


@pytest.mark.parametrize("text", COPIES)
def test_rows_for_copy_are_found(text: str, tmp_path: Path) -> None:
    found = script(text, tmp_path / "a.sql")
    assert not found.needs_psql
    assert [found.rows(*each.rows).decode() for each in found.passages if each.rows] == COPIES[text]
    rest = [text[each.start : each.end] for each in found.passages if not each.rows]
    assert not re.search("COPY|^1|^\\.", "".join(rest), re.MULTILINE)


@pytest.mark.parametrize("text", PLAIN)
def test_copies_of_other_kinds_and_backslash_lines_call_for_psql(text: str, tmp_path: Path) -> None:
    assert script(text, tmp_path / "a.sql").needs_psql


@pytest.mark.parametrize(
    "text",
    [
        "BEGIN; SELECT 1;",
        "commit;",
        "SELECT 1; ROLLBACK",
        "START TRANSACTION;",
        "end;",
        "/**/ABORT;",
    ],
)
def test_transaction_control_is_seen(text: str, tmp_path: Path) -> None:
    assert script(text, tmp_path / "a.sql").controls_transactions


@pytest.mark.parametrize(
    "text",
    [
        "SAVEPOINT a; ROLLBACK TO SAVEPOINT a;",
        "SELECT CASE WHEN true THEN 1 END;",
        "DO $$ BEGIN PERFORM 1; END $$;",
        "INSERT INTO t VALUES ('; COMMIT;');",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1;"
        "SELECT CASE WHEN true THEN 2 END; END; SELECT 1;",
        "CREATE RULE r AS ON INSERT TO t DO ALSO (DELETE FROM a; DELETE FROM b);",
        "PREPARE q AS SELECT 1;",
    ],
)
def test_what_only_looks_like_transaction_control_is_not(text: str, tmp_path: Path) -> None:
    assert not script(text, tmp_path / "a.sql").controls_transactions


def test_statements_start_after_comments_and_empty_ones_do_not_count() -> None:
    text = ";;-- first\nSELECT 1; /* x */;\n  SELECT\n 2"
    starts = [text[found.start : found.end] for found in statements(text)]
    assert starts == ["SELECT 1;", "SELECT\n 2"]


def test_the_guards_of_a_dump_are_blanked_and_positions_stay(tmp_path: Path) -> None:
    text = "\\restrict k\nSELECT '\\restrict k';\n\\unrestrict k\n"
    sent = script(text, tmp_path / "a.sql").to_send().decode()
    assert sent == "           \nSELECT '\\restrict k';\n             \n"


def test_a_byte_order_mark_is_left_out(tmp_path: Path) -> None:
    assert script("\ufeffSELECT 1", tmp_path / "a.sql").to_send() == b"SELECT 1"


@pytest.mark.parametrize("content", ["SELECT 1;\nSELECT 'é'".encode("latin-1"), b"SELECT 1;\n\0"])
def test_what_is_not_utf8_text_names_the_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_bytes(content)
    with pytest.raises(SchemaError, match=r"a\.sql:2 is not UTF-8 text(.|\n)*iconv"):
        Script.read(tmp_path / "a.sql", tmp_path).to_send()
