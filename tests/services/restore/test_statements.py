"""Whatever a statement changes, the next test finds all as it was before.

The programs of ``statements.sql`` are run as tests of a project; before each of them the whole
state of database and server is read, and compared with that of the first.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Project

HERE = Path(__file__).parent
# How many pairs of programs are run beside each of them; a few programs where none is given.
PAIRS = int(os.environ.get("BERTH_TESTS_STATEMENTS", "0"))
MAJOR = os.environ.get("BERTH_TESTS_POSTGRES", "17")
SAMPLES = {"truncation": 16, "database": 6, "rollback": 6}
WITHIN = 7200 if PAIRS else 280
# These end the transaction of a rolled-back test, which is refused and told; or PostgreSQL itself
# does not roll them back (docs/explanation/isolation.md).
NOT_ROLLED_BACK = re.compile("BEGIN|COMMIT|PREPARE|origin_advance")


def programs() -> Iterator[str]:
    """Yield the programs that the server's version knows."""
    for line in (HERE / "statements.sql").read_text(encoding="utf-8").splitlines():
        since, program = line[1:].split("] ", 1) if line.startswith("[") else ("0", line)
        if program and not program.startswith("#") and int(since) <= int(MAJOR):
            yield program


def chosen(isolation: str) -> list[str]:
    """Return the programs of this run: the same each time."""
    found = list(programs())
    if isolation == "rollback":
        found = [program for program in found if not NOT_ROLLED_BACK.search(program)]
    choice = random.Random(f"{PAIRS} {isolation}")
    if not PAIRS:
        return choice.sample(found, SAMPLES[isolation])
    # The second is noticed as it is alone: not under the first one's event_triggers = off.
    pairs = (" ;; RESET ALL ;; ".join(choice.sample(found, 2)) for _ in range(PAIRS))
    return [*found, *pairs]


@pytest.mark.parametrize("isolation", SAMPLES)
@pytest.mark.timeout(WITHIN + 20)
def test_the_next_test_finds_all_as_it_was(
    project: Project, require_source: Callable[[str], None], isolation: str
) -> None:
    require_source("local")
    wanted = chosen(isolation)
    for name in ("universe.sql", "each_program.py"):
        shutil.copy(HERE / name, project.root / name)
    (project.root / "programs.json").write_text(json.dumps(wanted), encoding="utf-8")
    (project.root / "pytest.ini").write_text(
        f"[pytest]\npythonpath = {HERE}\npython_files = each_program.py\n"
        f"berth_source = local\nberth_pg_version = {MAJOR}\nberth_pg_schema = universe.sql\n"
        "berth_pg_settings = wal_level = logical\n",
        encoding="utf-8",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROGRAMS_ISOLATION", isolation)
        arguments = project.arguments("-q", "--tb=short")
        result = project.pytester.runpytest_subprocess(*arguments, timeout=WITHIN)
    result.assert_outcomes(passed=len(wanted) + 1)
    if isolation != "rollback" and not PAIRS:
        # The first of a pair may have taken what the second needs.
        assert not (project.root / "problems").read_text(encoding="utf-8")
