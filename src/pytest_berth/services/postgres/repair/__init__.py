"""Truncation: puts a database back to its baseline by touching only what is dirty.

Not covered: rows behind foreign tables, objects of the system itself that are altered, system
catalogs written by hand while an event trigger watches the schema, sequence values that another
session has cached (``CACHE`` above 1). Where the role is no superuser: tables of extensions, of
large objects what lies behind 256 MB, and the order of rows of many widths.
"""

from __future__ import annotations

from pytest_berth.services.postgres.failures import (
    BaselineLost,
    CloneIsFasterError,
    LeftOpen,
    NotRepairable,
    SchemaChanged,
)
from pytest_berth.services.postgres.repair.baseline import Baseline, changed
from pytest_berth.services.postgres.repair.capture import capture, release
from pytest_berth.services.postgres.repair.ddl import named
from pytest_berth.services.postgres.repair.fingerprint import differences
from pytest_berth.services.postgres.repair.holders import Holder
from pytest_berth.services.postgres.repair.rebase import rebase
from pytest_berth.services.postgres.repair.restore import Restored, confirm, restore
from pytest_berth.services.postgres.repair.stored import adopt, store

__all__ = [
    "Baseline",
    "BaselineLost",
    "CloneIsFasterError",
    "Holder",
    "LeftOpen",
    "NotRepairable",
    "Restored",
    "SchemaChanged",
    "adopt",
    "capture",
    "changed",
    "confirm",
    "differences",
    "named",
    "rebase",
    "release",
    "restore",
    "store",
]
