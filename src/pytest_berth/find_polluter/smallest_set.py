"""Finds a smallest set of earlier tests after which a test fails.

The shortest beginning after which it fails, found by halving, ends with a test that is needed.
Where that one alone does not do, another one before it is needed, too, and is found in the same
way. So one test among a thousand takes about ten runs, two that only do it together twenty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NodeIds = tuple[str, ...]


def smallest_set(tests: Sequence[str], fails: Callable[[NodeIds, int], bool]) -> NodeIds:
    """Return tests of which none can be left out, in their order.

    Args:
        tests: Earlier tests after all of which the test was seen to fail; after none it passes.
        fails: Tells whether the test fails after some of them; asked once for each set, and told
            how many tests may be the one that is looked for.
    """
    known: dict[NodeIds, bool] = {}

    def asked(some: NodeIds, left: int = 1) -> bool:
        if some not in known:
            known[some] = fails(some, left)
        return known[some]

    before, needed = tuple(tests), NodeIds()
    while before and not (needed and asked(needed)):
        length = _shortest(before, needed, asked)
        before, needed = before[: length - 1], (before[length - 1], *needed)
    return _without_the_needless(needed, asked)


def _shortest(before: NodeIds, needed: NodeIds, fails: Callable[[NodeIds, int], bool]) -> int:
    """Return how many of the tests before those that are needed have to run, from the first on."""
    enough, too_few = len(before), 0
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if fails((*before[:middle], *needed), enough - too_few):
            enough = middle
        else:
            too_few = middle
    return enough


def _without_the_needless(needed: NodeIds, fails: Callable[[NodeIds], bool]) -> NodeIds:
    """Leave out what an answer that was wrong once, or a test that cleans up, has brought in."""
    for test in needed:
        fewer = tuple(each for each in needed if each != test)
        if fewer and fails(fewer):
            return _without_the_needless(fewer, fails)
    return needed
