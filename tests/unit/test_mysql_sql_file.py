"""SQL files of MySQL: what is sent at once, and where its statements begin."""

from __future__ import annotations

import pytest

from pytest_berth.services.mysql.schema.sql_file import parts, starts

DUMP = """\
CREATE TABLE t (id int); -- a comment; no statement
DELIMITER ;;
CREATE TRIGGER a BEFORE INSERT ON t FOR EACH ROW BEGIN SET @a = 1; SET @b = 2; END;;
CREATE TRIGGER b BEFORE UPDATE ON t FOR EACH ROW SET @a = ';;'
;;
delimiter ;
INSERT INTO t VALUES (1);
"""


def test_what_stands_between_delimiters_is_sent_at_once() -> None:
    found = [(part.text.strip(), part.is_one) for part in parts(DUMP)]
    assert found[0] == ("CREATE TABLE t (id int); -- a comment; no statement", False)
    assert found[1][0].startswith("CREATE TRIGGER a")
    assert found[1][0].endswith("SET @b = 2; END")
    assert found[1][1]
    assert found[-1] == ("INSERT INTO t VALUES (1);", False)
    assert all(DUMP[part.start :].startswith(part.text) for part in parts(DUMP))


def test_a_file_without_statements_has_nothing_to_send() -> None:
    assert not list(parts(" \n\n"))
    assert not list(parts("DELIMITER //\n\nDELIMITER ;\n"))


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1; SELECT 2",
        "-- one; two\nSELECT 1;\n# three;\nSELECT 2;",
        "SELECT ';', \"\\\";\", `;`, 'it''s;', '\\';'; SELECT 2;",
        "SELECT 1 /* ; */;; ; SELECT 2 --\n;",
        "/*!40101 SET NAMES utf8 */; SELECT 1--1;",
        "/*M!100100 SELECT 1; */; /* no; */ SELECT 2;",
    ],
)
def test_statements_begin_after_semicolons_that_nothing_hides(text: str) -> None:
    assert len(starts(text)) == 2


def test_a_statement_begins_after_the_comments_before_it() -> None:
    text = "SELECT 1;\n-- the second\nSELECT 2"
    assert [text[start:] for start in starts(text)] == [text, "SELECT 2"]
