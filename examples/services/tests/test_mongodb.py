"""A shop's accounts in MongoDB: documents, a unique index, a transaction."""

import pymongo
import pytest
from pymongo.errors import DuplicateKeyError


@pytest.fixture(scope="module")
def accounts(mongo_url):
    """Two accounts, which each test finds as they are here."""
    with pymongo.MongoClient(mongo_url) as client:
        collection = client.get_default_database().accounts
        collection.create_index("owner", unique=True)
        collection.insert_many([{"owner": "ada", "cents": 500}, {"owner": "bob", "cents": 0}])


def test_crud(accounts, mongo_database):
    found = mongo_database.accounts
    found.insert_one({"owner": "eve", "cents": 100})
    found.update_one({"owner": "eve"}, {"$inc": {"cents": 20}})
    assert found.find_one({"owner": "eve"})["cents"] == 120
    found.delete_many({"cents": {"$gt": 0}})
    assert [each["owner"] for each in found.find()] == ["bob"]


def test_owners_are_unique(accounts, mongo_database):
    with pytest.raises(DuplicateKeyError):
        mongo_database.accounts.insert_one({"owner": "ada"})
    assert mongo_database.accounts.count_documents({}) == 2


def spend(client, accounts, owner, cents):
    """Take money from an account, unless it has too little: then nothing has happened."""
    with client.start_session() as session, session.start_transaction():
        accounts.update_one({"owner": owner}, {"$inc": {"cents": -cents}}, session=session)
        if accounts.find_one({"owner": owner}, session=session)["cents"] < 0:
            raise ValueError(f"{owner} is broke")


def test_transaction(accounts, mongo_client, mongo_database, mongo_server):
    if "FerretDB" in mongo_server.version:
        pytest.skip("FerretDB has no transactions")
    with pytest.raises(ValueError, match="ada is broke"):
        spend(mongo_client, mongo_database.accounts, "ada", 900)
    assert mongo_database.accounts.find_one({"owner": "ada"})["cents"] == 500
