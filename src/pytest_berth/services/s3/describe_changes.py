"""What a test has changed, for its report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES = {"bucket": "bucket", "object": "", "upload": "multipart upload"}


def lines(before: Mapping[tuple[str, ...], Any], now: Mapping[tuple[str, ...], Any]) -> list[str]:
    """Return a line for each bucket, object and upload that is not as it was."""
    found = []
    for key in sorted(before.keys() | now):
        if before.get(key) != now.get(key):
            kind, *place = key
            name = " ".join(filter(None, (_NAMES[kind], "/".join(place[:2]))))
            found.append(f"{name}: {_how(kind, before.get(key), now.get(key))}")
    return found


def _how(kind: str, before: Any, now: Any) -> str:
    if before is None:
        return "new" if kind != "object" or not now[0].is_marker else "new, and deleted"
    if now is None:
        return "deleted"
    if kind == "bucket":
        names = {name for name, _ in set(before) ^ set(now)}
        return f"other settings: {', '.join(sorted(names))}"
    if now[0].is_marker and not before[0].is_marker:
        return "deleted, by a marker"
    return "changed"
