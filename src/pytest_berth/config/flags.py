"""Flags of pytest's that look like ours, and are none: the nearest one is named."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import pytest

from pytest_berth import manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

_BEGIN = "--berth"


def refuse_unknown(parser: pytest.Parser, arguments: Sequence[str]) -> None:
    """Refuse flags that begin as ours do and that no plugin knows.

    pytest refuses them, too, but does not say what was meant.

    Args:
        parser: pytest's, with the flags of all plugins and conftest files.
        arguments: The command line.

    Raises:
        pytest.UsageError: There is one.
    """
    _, unknown = parser.parse_known_and_unknown_args([*arguments])
    for word in unknown:
        flag = word.partition("=")[0]
        if flag.startswith(_BEGIN):
            raise pytest.UsageError(f"there is no flag {flag}: {_meant(flag)}")


def _meant(flag: str) -> str:
    """Return the nearest flag; where that is a setting without one, how it is given."""
    known = _ours()
    match = difflib.get_close_matches(flag, known, n=1)
    return (
        f"did you mean {known[match[0]]}?" if match else "pytest --help lists those that begin so"
    )


def _ours() -> dict[str, str]:
    """Return how each flag and setting is given, by what may be meant for it."""
    told = manifest.read()
    rows = [*told["options"], *(row for each in told["services"] for row in each["options"])]
    spelt = {f"--{name.replace('_', '-')}": flag or f"-o {name}=..." for name, _, flag, *_ in rows}
    flags = ["--berth-stop", "--berth-find-polluter", *(row[2] for row in rows if row[2])]
    return {**spelt, **{flag: flag for flag in flags}}
