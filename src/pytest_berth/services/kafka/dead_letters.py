"""Which record a dead letter comes from: frameworks say it in headers, or send the value along."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_berth.services.kafka.record import Record


def comes_from(letter: Record, source: Record | str | None) -> bool:
    """Tell whether a dead letter may come from a record, or from a topic."""
    if source is None:
        return True
    if isinstance(source, str):
        return _names(letter, source)
    return _holds(letter, source) or _names_place(letter, source)


def _names(letter: Record, topic: str) -> bool:
    name = topic.encode()
    in_headers = any(name in (value or b"") for _, value in letter.headers)
    return in_headers or name in (letter.value or b"")


def _holds(letter: Record, source: Record) -> bool:
    """Tell whether the value is the source's, or has it inside: as it is, as text, as base64."""
    content, value = letter.value or b"", source.value or b""
    if content == value:
        return letter.key == source.key or source.key is None
    if not value:
        return False
    text = json.dumps(value.decode(errors="replace"))[1:-1].encode()
    unescaped = json.dumps(value.decode(errors="replace"), ensure_ascii=False)[1:-1].encode()
    return any(each in content for each in (value, text, unescaped, base64.b64encode(value)))


def _names_place(letter: Record, source: Record) -> bool:
    """Tell whether headers name topic, partition and offset, as text or as big-endian numbers."""
    values = [value for _, value in letter.headers]
    return source.topic.encode() in values and all(
        str(number).encode() in values
        or number.to_bytes(4, "big") in values
        or number.to_bytes(8, "big") in values
        for number in (source.partition, source.offset)
    )
