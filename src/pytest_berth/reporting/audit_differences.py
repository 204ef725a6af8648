"""What differs between two looks at a server, as lines for people.

A look is a text by the name of each thing. Its first line says how the thing stands; each further
line is a part of it, such as a row of a table. What follows a tab in a line is compared, and not
shown: a digest. None stands for what cannot be told at the moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

State: TypeAlias = "Mapping[str, str | None]"
# What stands for a thing that is not there.
GONE = "\0"
_MOST_PARTS = 5


def differences(before: State, after: State, unbroken: State) -> list[str]:
    """Return a line for each thing that has come, has gone or has changed.

    Args:
        before: The baseline.
        after: What is there now.
        unbroken: How some things stood, and may stand again.
    """
    is_back = {name for name, text in unbroken.items() if text == after.get(name, GONE)}
    return [
        line
        for name in sorted((before.keys() | after.keys()) - is_back)
        for line in _difference(name, before, after)
    ]


def _difference(name: str, before: State, after: State) -> Iterator[str]:
    if name not in before:
        head = _head(after[name])
        yield f"{name}: new, {head}" if head else f"{name}: new"
    elif name not in after:
        yield f"{name}: gone"
    else:
        old, new = before[name], after[name]
        if old is not None and new is not None and old != new:
            yield _changed(name, old, new)


def _changed(name: str, old: str, new: str) -> str:
    heads = _head(old), _head(new)
    told = _parts(_by_shown(old), _by_shown(new))
    stands = f"{name}: {heads[0]} -> {heads[1]}" if heads[0] != heads[1] else f"{name}: changed"
    return f"{stands} ({told})" if told else stands


def _parts(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """Return which parts have come, have gone and have changed; nothing where there are none."""
    kinds = {
        "new": new.keys() - old.keys(),
        "gone": old.keys() - new.keys(),
        "changed": {name for name in old.keys() & new.keys() if old[name] != new[name]},
    }
    return "; ".join(f"{kind}: {_some(names)}" for kind, names in kinds.items() if names)


def _by_shown(text: str) -> dict[str, str]:
    """Return what is compared of each part, by what is shown of it."""
    lines = (line.partition("\t") for line in text.splitlines()[1:])
    return {shown: hidden for shown, _, hidden in lines}


def _some(names: Iterable[str]) -> str:
    found = sorted(names)
    more = f", ... {len(found) - _MOST_PARTS} more" if len(found) > _MOST_PARTS else ""
    return f"{', '.join(found[:_MOST_PARTS])}{more}"


def _head(text: str | None) -> str:
    return (text or "").partition("\n")[0].partition("\t")[0]
