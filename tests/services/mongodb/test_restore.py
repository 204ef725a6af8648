"""A database is put back as fixtures of a wider scope have left it, whatever a test does."""

from __future__ import annotations

from textwrap import dedent, indent
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Project

SEEDED = """
    import pymongo
    import pytest

    @pytest.fixture(scope="module")
    def seeded(mongo_url):
        with pymongo.MongoClient(mongo_url) as client:
            database = client.get_default_database()
            database.users.create_index("email", unique=True)
            database.users.insert_many([{"_id": n, "email": f"{n}@x"} for n in range(5)])
            database.create_collection("log", capped=True, size=4096, max=2)
            database.log.insert_many([{"_id": n} for n in range(2)])
        yield
        with pymongo.MongoClient(mongo_url) as client:
            client.get_default_database().farewell.insert_one({})

    def state(database):
        options = {each["name"]: each["options"] for each in database.list_collections()}
        return (
            list(database.users.find()),
            sorted(database.users.index_information()),
            list(database.log.find()),
            {name: bool(given.get("capped")) for name, given in options.items()},
        )

    BEFORE = (
        [{"_id": n, "email": f"{n}@x"} for n in range(5)],
        ["_id_", "email_1"],
        [{"_id": 0}, {"_id": 1}],
        {"users": False, "log": True},
    )
"""
# What a test may do to its database, each with a name.
DEEDS = {
    "insert": 'db.users.insert_many([{"_id": 7, "email": "a"}, {"email": "b"}])',
    "update": 'db.users.update_one({"_id": 2}, {"$set": {"email": "changed"}})',
    "both": 'db.users.insert_one({"email": "a"}); db.users.update_many({}, {"$set": {"seen": 1}})',
    "delete": 'db.users.delete_one({"_id": 2})',
    "delete_all": "db.users.delete_many({})",
    "delete_and_insert_anew": 'db.users.delete_one({"_id": 1}); db.users.insert_one({"_id": 1})',
    "exchange": """
        db.users.update_one({"_id": 1}, {"$set": {"email": "meanwhile"}})
        db.users.update_one({"_id": 2}, {"$set": {"email": "1@x"}})
        db.users.update_one({"_id": 1}, {"$set": {"email": "2@x"}})
    """,
    "drop": "db.users.drop()",
    "drop_and_make_otherwise": 'db.log.drop(); db.log.insert_one({"_id": 0})',
    "overflow": "db.log.insert_many([{} for _ in range(3)])",
    "drop_index": 'db.users.drop_indexes(); db.users.insert_one({"email": "1@x"})',
    "change_index": 'db.users.drop_indexes(); db.users.create_index("email")',
    "add_index": 'db.users.create_index("name")',
    "rename": 'db.users.rename("people")',
    "new_collections": 'db.other.insert_one({}); db.create_collection("empty")',
    "drop_database": "db.client.drop_database(db.name)",
    "close_the_client": 'db.users.insert_one({"email": "a"}); db.client.close()',
}


def test_whatever_a_test_does_the_next_one_finds_what_was_there(local: Project) -> None:
    """Documents with their ids and order, indexes, and collections with their options."""
    tests = "".join(
        f"\n\ndef test_{name}(seeded, mongo_database):\n    db = mongo_database\n"
        f"    assert state(db) == BEFORE\n{indent(_dedented(deed), '    ')}\n"
        f"\n\ndef test_after_{name}(seeded, mongo_database):\n"
        "    assert state(mongo_database) == BEFORE\n"
        for name, deed in DEEDS.items()
    )
    local.write(
        test_deeds=_dedented(SEEDED) + tests,
        test_later="""
            def test_what_the_module_wrote_is_gone(mongo_database):
                assert mongo_database.list_collection_names() == []
        """,
    )
    local.run().assert_outcomes(passed=2 * len(DEEDS) + 1)


def test_fixtures_that_come_late_and_threads_that_outlive_a_test(local: Project) -> None:
    """What a late session fixture writes lies below what the test before it had written.

    What a thread writes after its test is taken back before the next one.
    """
    local.write(
        test_it="""
            import pymongo
            import pytest

            @pytest.fixture(scope="session")
            def late(mongo_url):
                with pymongo.MongoClient(mongo_url) as client:
                    client.get_default_database().users.insert_one({"_id": "late"})

            def ids(database):
                return [each["_id"] for each in database.users.find()]

            def test_late(mongo_database, request):
                mongo_database.users.insert_one({"_id": "test"})
                request.getfixturevalue("late")
                assert ids(mongo_database) == ["test", "late"]

            def test_after(mongo_database):
                assert ids(mongo_database) == ["late"]

            def test_after_that(mongo_database):
                assert ids(mongo_database) == ["late"]
        """,
        conftest="""
            import os
            import pymongo
            import pytest

            @pytest.hookimpl(trylast=True)
            def pytest_runtest_logfinish(nodeid):
                # After the test's clean-up: as a thread would, that it has left.
                if nodeid.endswith("test_after"):
                    with pymongo.MongoClient(os.environ["MONGO"]) as client:
                        client.get_default_database().users.insert_one({"_id": "thread"})
        """,
    )
    local.ini("berth_export = MONGO = {mongo_url}")
    local.run().assert_outcomes(passed=3)


def test_a_failing_test_is_shown_what_it_changed(local: Project) -> None:
    """Documents by sign and collection, without secrets; and how to look there."""
    local.write(
        test_it="""
            import pymongo
            import pytest

            @pytest.fixture(scope="session")
            def seeded(mongo_url):
                with pymongo.MongoClient(mongo_url) as client:
                    client.get_default_database().users.insert_many([{"_id": 1}, {"_id": 2}])

            def test_it(seeded, mongo_database):
                mongo_database.users.delete_one({"_id": 1})
                mongo_database.users.update_one({"_id": 2}, {"$set": {"a": 1}})
                mongo_database.users.insert_one({"_id": 3, "password": "abracadabra"})
                mongo_database.other.create_index("name")
                assert not "what failed"
        """
    )
    result = local.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*mongodb: what the test changed*",
            "+ other: an empty collection",
            "~ users: {'_id': 2, 'a': 1}",
            "+ users: {'_id': 3, 'password': [*][*][*]}",
            "- users: {'_id': 1}",
            "*mongodb: look yourself*",
            "mongosh 'mongodb://127.0.0.1:*/berth_*_main?*' --username berth",
        ]
    )
    result.stdout.no_fnmatch_line("*MongoClient*:*@*")


def test_an_audit_tells_what_no_clean_up_puts_back(local: Project) -> None:
    """Here: a test that uses no fixture, and so is not known to write."""
    local.ini("berth_export = MONGO = {mongo_url}")
    local.write(
        test_it="""
            import os
            import pymongo

            def test_clean(mongo_database):
                mongo_database.users.insert_one({"_id": 1})

            def test_that_writes():
                with pymongo.MongoClient(os.environ["MONGO"]) as client:
                    client.get_default_database().left.insert_one({"_id": 7, "token": "abc"})
        """
    )
    result = local.run("--berth-audit")
    result.stdout.fnmatch_lines(["*test_that_writes*", "*mongodb: collection left: new*"])
    result.stdout.no_fnmatch_line("*test_clean*")
    result.stdout.no_fnmatch_line("*abc*")


def _dedented(text: str) -> str:
    return dedent(text).strip("\n")
