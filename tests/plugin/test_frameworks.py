"""The documentation's examples of frameworks: in random order, in one process and in two."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from marks import nightly, usual
from pytest_berth.services.redis.service import REDIS

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Project
    from pytest_berth.api import Service

DOCS = Path(__file__).parents[2] / "docs"
PLUGINS = {
    "fastapi_sync": (),
    "fastapi_async": ("asyncio",),
    "flask_sqlalchemy": (),
    "django_site": ("django",),
    "sqlmodel_shop": (),
    "psycopg_pool": (),
    "asyncpg_pool": ("asyncio",),
    "celery_redis": (),
    "alembic_startup": (),
    "uvicorn_process": (),
}
# What they show, test_async, test_django, test_left_open and test_processes do, too.
SHOWN_ELSEWHERE = {"fastapi_async", "django_site", "psycopg_pool", "uvicorn_process"}
MOST_LINES = 10


@pytest.mark.parametrize("workers", ["0", *nightly("2")])
@pytest.mark.parametrize("name", usual(PLUGINS, *(PLUGINS.keys() - SHOWN_ELSEWHERE)))
def test_an_application_passes_in_random_order_in_as_many_processes(
    served: Project, name: str, require_service: Callable[[Service, str], None], workers: str
) -> None:
    if "redis" in name:
        require_service(REDIS, "external")
    shutil.copytree(DOCS / "examples" / name, served.root, dirs_exist_ok=True)
    served.plugins = ("xdist", "randomly", *PLUGINS[name])
    result = served.run("-n", workers)
    assert result.ret == pytest.ExitCode.OK
    assert result.parseoutcomes().keys() <= {"passed", "warnings"}


@pytest.mark.parametrize("name", PLUGINS)
def test_its_set_up_is_short_and_told(name: str) -> None:
    files = [DOCS / "examples" / name / file for file in ("pytest.ini", "conftest.py")]
    lines = sum(len([*filter(None, file.read_text().splitlines())]) for file in present(files))

    assert lines <= MOST_LINES
    assert f"`{name}` | {lines} |" in (DOCS / "how-to" / "frameworks.md").read_text("utf-8")


def present(files: list[Path]) -> list[Path]:
    """Return those that there are."""
    return [file for file in files if file.exists()]
