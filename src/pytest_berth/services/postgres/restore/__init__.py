"""Truncation: puts a database back to its baseline by touching only what is dirty.

Not covered: rows behind foreign tables, objects of the system itself that are altered, system
catalogs written by hand while an event trigger watches the schema, sequence values that another
session has cached (``CACHE`` above 1). Where the role is no superuser: tables of extensions, of
large objects what lies behind 256 MB, and the order of rows of many widths.
"""

from __future__ import annotations

from pytest_berth.services.postgres.restore.baseline import Baseline, Restored, changed
from pytest_berth.services.postgres.restore.capture import capture, release
from pytest_berth.services.postgres.restore.ddl_trigger import named
from pytest_berth.services.postgres.restore.errors import (
    BaselineLost,
    CloneIsFasterError,
    NotRepairable,
    SchemaChanged,
)
from pytest_berth.services.postgres.restore.find_changes import confirm
from pytest_berth.services.postgres.restore.merge_late_fixture import rebase
from pytest_berth.services.postgres.restore.open_transactions import LeftOpen, OpenTransaction
from pytest_berth.services.postgres.restore.restore import restore
from pytest_berth.services.postgres.restore.schema_fingerprint import differences
from pytest_berth.services.postgres.restore.stored_baseline import load, store

__all__ = [
    "Baseline",
    "BaselineLost",
    "CloneIsFasterError",
    "LeftOpen",
    "NotRepairable",
    "OpenTransaction",
    "Restored",
    "SchemaChanged",
    "capture",
    "changed",
    "confirm",
    "differences",
    "load",
    "named",
    "rebase",
    "release",
    "restore",
    "store",
]
