"""A record of a topic, as tests look at it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_berth.errors import RecordError

_SHOWN = 200


@dataclass(frozen=True)
class Record:
    """A record.

    Attributes:
        topic: Its topic.
        partition: Its partition.
        offset: Its offset in the partition.
        timestamp: Milliseconds since 1970, as its producer or the broker has set them.
        key: Its key, None where it has none.
        value: Its value, None for a tombstone.
        headers: Its headers in their order; a name may occur more than once.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()

    def json(self) -> Any:
        """Return the value, read as JSON.

        Raises:
            RecordError: It is not JSON; the error names topic, partition and offset.
        """
        try:
            return json.loads(self._present())
        except ValueError as error:
            raise self._unreadable("JSON", error) from None

    def text(self) -> str:
        """Return the value, read as UTF-8.

        Raises:
            RecordError: It is not UTF-8.
        """
        try:
            return self._present().decode()
        except ValueError as error:
            raise self._unreadable("UTF-8", error) from None

    def header(self, name: str) -> bytes | None:
        """Return the last header of a name, None where there is none."""
        return dict(self.headers).get(name)

    def __str__(self) -> str:
        """Return one line: where it is, key, headers and the beginning of the value."""
        headers = "".join(f" {name}={_short(value)}" for name, value in self.headers)
        place = f"{self.partition}@{self.offset}"
        return f"{place} key={_short(self.key)}{headers}: {_short(self.value)}"

    def _present(self) -> bytes:
        if self.value is None:
            raise ValueError("the record has no value (a tombstone)")
        return self.value

    def _unreadable(self, format_: str, error: ValueError) -> RecordError:
        return RecordError(
            f"the value of a record is not {format_}.",
            why=f"topic {self.topic}, partition {self.partition}, offset {self.offset}:"
            f" {error}\n{_short(self.value)}",
            remedy="look at .value, or pick records by where=lambda record: ...",
        )


def encode(value: object) -> bytes | None:
    """Return what is published for a value: bytes as they are, text as UTF-8, the rest as JSON."""
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def encode_headers(
    headers: Mapping[str, object] | list[tuple[str, object]] | None,
) -> list[tuple[str, bytes | None]]:
    """Return headers as Kafka takes them; a mapping's, or a list's where a name occurs twice.

    Raises:
        TypeError: They are something else.
    """
    pairs = [*headers.items()] if isinstance(headers, Mapping) else headers or []
    if not isinstance(pairs, list) or not all(map(_is_header, pairs)):
        raise TypeError(
            f"headers are a mapping, or a list of pairs of a name and a value, and not {headers!r}"
        )
    return [(name, encode(value)) for name, value in pairs]


def _is_header(pair: object) -> bool:
    return isinstance(pair, (tuple, list)) and len(pair) == 2 and isinstance(pair[0], str)


def _short(value: bytes | None) -> str:
    if value is None:
        return "null"
    text = value[:_SHOWN].decode(errors="backslashreplace")
    return f"{text}... ({len(value)} bytes)" if len(value) > _SHOWN else text
