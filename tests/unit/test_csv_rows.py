"""CSV files as PostgreSQL's COPY reads them."""

from __future__ import annotations

import pytest

from pytest_berth.schema import csv_rows


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("", []),
        ("a,b\n1,2", [(1, ["a", "b"]), (2, ["1", "2"])]),
        ('a\r\n""\r\n\r\nb\r\n', [(1, ["a"]), (2, [""]), (3, [None]), (4, ["b"])]),
        ('"a ""b""\n,c",,"",d e\nf', [(1, ['a "b"\n,c', None, "", "d e"]), (3, ["f"])]),
        ('a"b,"c"d,', [(1, ['a"b', "cd", None])]),
        ('"never ends\n1', [(1, ['"never ends']), (2, ["1"])]),
    ],
)
def test_nothing_is_told_from_an_empty_text(
    text: str, rows: list[tuple[int, list[str | None]]]
) -> None:
    assert [*csv_rows.rows(text)] == rows
