"""Tests of a MongoDB that holds what a session fixture has written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pymongo
import pytest

if TYPE_CHECKING:
    from pymongo.database import Database

TESTS = range(int(os.environ["BENCHMARK_TESTS"]))


@pytest.fixture(scope="session", autouse=True)
def _records(mongo_url: str) -> None:
    records = range(int(os.environ["BENCHMARK_RECORDS"]))
    with pymongo.MongoClient[dict[str, Any]](mongo_url) as client:
        client.get_default_database().users.insert_many(
            [{"_id": number, "email": f"{number}@example.com"} for number in records]
        )


@pytest.mark.parametrize("number", TESTS)
def test_untouched(mongo_database: Database[dict[str, Any]], number: int) -> None:
    assert mongo_database.users.find_one({"_id": 0})


@pytest.mark.parametrize("number", TESTS)
def test_small(mongo_database: Database[dict[str, Any]], number: int) -> None:
    mongo_database.users.insert_one({"email": "ada@example.com"})
