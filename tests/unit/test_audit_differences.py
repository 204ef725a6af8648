"""What is said of two looks at a server that differ."""

from __future__ import annotations

from pytest_berth.reporting.audit_differences import GONE, differences


def test_what_came_what_went_and_what_changed_is_told() -> None:
    before = {"kept": "1", "gone": "x", "head": "1 row", "digest": "\told"}
    after = {"kept": "1", "new": "2 rows\nid=1", "head": "2 rows", "digest": "\tnew", "bare": ""}
    assert differences(before, after, {}) == [
        "bare: new",
        "digest: changed",
        "gone: gone",
        "head: 1 row -> 2 rows",
        "new: new, 2 rows",
    ]


def test_parts_are_told_by_what_is_shown_of_them_and_bounded() -> None:
    before = {"rows": "\n".join(["9 rows\t1", *(f"id={n}\t{n}" for n in range(9))])}
    after = {"rows": "\n".join(["3 rows\t2", "id=7\t7", "id=8\tother", "id=9\t9"])}
    (told,) = differences(before, after, {})
    assert told == (
        "rows: 9 rows -> 3 rows"
        " (new: id=9; gone: id=0, id=1, id=2, id=3, id=4, ... 2 more; changed: id=8)"
    )


def test_what_cannot_be_told_differs_from_nothing() -> None:
    assert differences({"a": None, "b": "1"}, {"a": "1", "b": None}, {}) == []


def test_what_is_as_it_was_before_it_was_broken_is_no_difference() -> None:
    broken = {"setting": "2", "left": "x"}
    assert differences(broken, {"setting": "1"}, {"setting": "1", "left": GONE}) == []
    assert differences(broken, {"setting": "3"}, {"setting": "1"}) == [
        "left: gone",
        "setting: 2 -> 3",
    ]
