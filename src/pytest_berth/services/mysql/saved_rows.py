"""Rows as statements that write them again on another server: the one that has copies may die.

What stands in a statement is made by the server: bytes as hexadecimal digits, whatever their
character set, and FLOAT as the DOUBLE that it is, as its own text has fewer digits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_berth.services.mysql.connections import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_berth.services.mysql.connections import Connection

_KINDS = """
SELECT column_name, data_type FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name = %s
"""
_BYTES = (
    *("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"),
    *("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "geometry", "point"),
    *("linestring", "polygon", "multipoint", "multilinestring", "multipolygon"),
    *("geometrycollection", "geomcollection"),
)
_LITERALS = {
    **dict.fromkeys(_BYTES, "CONCAT('X''', HEX({0}), '''')"),
    **dict.fromkeys(("float", "double"), "CONCAT({0} + 0e0)"),
    "bit": "CONCAT('b''', BIN({0} + 0), '''')",
    # MySQL's own type takes no bytes.
    "json": "CONCAT('CONVERT(X''', HEX({0}), ''' USING utf8mb4)')",
}
_USUAL = "QUOTE({0})"
# Far below what a server takes in one packet.
_LONGEST = 500_000


class SavedRows(NamedTuple):
    """What makes a copy of a table's rows anew.

    Attributes:
        table: The table that it is a copy of.
        columns: Its columns that can be written to.
        rows: The values of each row, as they stand in a statement.
    """

    table: str
    columns: Sequence[str]
    rows: Sequence[str]

    def statements(self, copy: str) -> Iterator[str]:
        """Yield what fills a table of that quoted name."""
        begin = f"INSERT INTO {copy} ({', '.join(map(quoted, self.columns))}) VALUES "
        values: list[str] = []
        size = 0
        for row in self.rows:
            if size > _LONGEST:
                yield begin + ",".join(values)
                values, size = [], 0
            values.append(row)
            size += len(row)
        if values:
            yield begin + ",".join(values)


def read(connection: Connection, table: str, columns: Sequence[str]) -> SavedRows:
    """Read the rows of a table of the connection's database."""
    kinds: Mapping[str, str] = dict(connection.rows(_KINDS, (table,)))
    values = ", ".join(
        f"COALESCE({_LITERALS.get(kinds[each], _USUAL).format(quoted(each))}, 'NULL')"
        for each in columns
    )
    found = connection.rows(f"SELECT {values} FROM {quoted(table)}")
    rows = [f"({','.join(map(_text, row))})" for row in found]
    return SavedRows(table, columns, rows)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
