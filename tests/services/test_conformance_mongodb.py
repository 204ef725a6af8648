"""MongoDB passes what every service has to, from each source."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pytest_berth.services.mongodb.service import MONGODB
from pytest_berth.testing import ServiceConformance

if TYPE_CHECKING:
    from collections.abc import Sequence


class TestMongoDB(ServiceConformance):
    """By pymongo, in a collection that the first document makes."""

    service = MONGODB
    fixtures: ClassVar[Sequence[str]] = ("mongo_database",)
    write = "mongo_database.notes.insert_one({'text': 'value'})"
    read = "mongo_database.notes.find_one()"
    wide_write = (
        "import pymongo; client = pymongo.MongoClient(mongo_url);"
        " client.get_default_database().notes.insert_one({'text': 'value'}); client.close()"
    )
    server_url = "mongo_url"
    restores = True
