"""What only MongoDB itself has: its oplog, its start as a replica set, its sessions."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import bson
import pytest
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure

from ini_settings import settings
from pytest_berth.api import Credentials, NotReadyError, Server, StartError
from pytest_berth.services.mongodb import describe_changes, launch, probe, transactions, urls
from pytest_berth.services.mongodb.contents import Collection, id_from, id_of, split, with_id
from pytest_berth.services.mongodb.restore import Plan, plan
from pytest_berth.services.mongodb.service import MONGODB
from pytest_berth.services.mongodb.watch import Entry, changes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

NAME = "berth_run_gw0"
ACCOUNT = Credentials("berth", "s/cret", "admin", token="berth-0123")
SERVER = Server("mongodb", "container", "127.0.0.1", 15000, ACCOUNT)


class Answers:
    """A client that answers commands as it was told, and notes them.

    Attributes:
        sent: The commands, with their values and options.
    """

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.sent: list[tuple[Any, ...]] = []
        self.admin = self

    def command(self, name: str, value: Any = 1, **options: Any) -> Any:
        """Note a command, and answer it."""
        self.sent.append((name, value, *options.items()))
        answer = self.answers.get(name, {})
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, int):
            raise OperationFailure("refused", answer)
        return answer

    def aggregate(self, pipeline: list[Mapping[str, Any]]) -> Any:
        """Note an aggregation, and answer it."""
        return self.command("aggregate", pipeline)

    def close(self) -> None:
        """Do nothing."""


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the probe be answered, with and without the account."""

    def by(own: Answers, anybody: Answers | None = None) -> None:
        monkeypatch.setattr(probe.clients, "berths_own", lambda *_, **__: own)
        monkeypatch.setattr(probe.clients, "without_account", lambda *_, **__: anybody)

    return by


PRIMARY = {"isWritablePrimary": True, "setName": ACCOUNT.token}
NEW = {"isWritablePrimary": False, "isreplicaset": True, "info": "no replset config"}


def test_a_new_server_of_a_container_is_made_the_only_member_of_its_set(
    connect: Callable[..., None],
) -> None:
    """At the address that it has inside, and where the port is fixed, at that one."""
    for account, member in ((ACCOUNT, 27017), (replace(ACCOUNT, given=True), 15000)):
        client = Answers(hello=[NEW, PRIMARY], buildInfo={"version": "8.0.4"})
        connect(client)
        server = replace(SERVER, credentials=account)
        with pytest.raises(NotReadyError, match="no replset config"):
            probe.probe(server)
        members = [{"_id": 0, "host": f"127.0.0.1:{member}"}]
        name, config = client.sent[-1]
        assert name == "replSetInitiate"
        assert (config["_id"], config["members"]) == (ACCOUNT.token, members)
        assert probe.probe(server) == "8.0.4"


@pytest.mark.parametrize("hello", [{**PRIMARY, "setName": "rs0"}, {"isWritablePrimary": True}])
@pytest.mark.parametrize("source", ["container", "local"])
def test_a_server_of_another_set_or_of_none_is_not_berths(
    connect: Callable[..., None], hello: dict[str, Any], source: str
) -> None:
    """Nothing but a question is sent to it, also where it lets in anybody."""
    client = Answers(hello=hello)
    connect(Answers(hello=18) if source == "local" else client, client)
    with pytest.raises(StartError, match="is not berth's") as caught:
        probe.probe(replace(SERVER, source=source))
    assert repr(hello.get("setName", "")) in caught.value.why
    assert client.sent == [("hello", 1)]


def test_a_server_given_by_url_is_never_made_a_primary(connect: Callable[..., None]) -> None:
    """It may be somebody's, who has not come so far yet."""
    client = Answers(hello=NEW)
    connect(client)
    with pytest.raises(NotReadyError, match="no writable primary"):
        probe.probe(replace(SERVER, source="external"))
    assert client.sent == [("hello", 1)]


def test_a_local_server_is_given_its_account_when_it_is_a_primary(
    connect: Callable[..., None],
) -> None:
    """As nobody has one, it lets in whoever comes from this machine, for that."""
    anybody = Answers(hello=[NEW, PRIMARY])
    connect(Answers(hello=18), anybody)
    local = replace(SERVER, source="local")
    for _ in range(2):
        with pytest.raises(NotReadyError):
            probe.probe(local)
    assert [sent[0] for sent in anybody.sent] == ["hello", "replSetInitiate", "hello", "createUser"]
    expected = ("createUser", "berth", ("pwd", "s/cret"), ("roles", ["root"]))
    assert anybody.sent[-1] == expected


@pytest.mark.parametrize("source", ["container", "external"])
def test_a_refused_account_is_told(connect: Callable[..., None], source: str) -> None:
    """At once, as waiting does not help."""
    connect(Answers(hello=18))
    with pytest.raises(StartError, match="refuses") as caught:
        probe.probe(replace(SERVER, source=source))
    assert ("berth_mongo_url" in caught.value.remedy) == (source == "external")


def test_the_container_is_told_its_password_by_files(tmp_path: Path) -> None:
    """The engine shows environment and command to everybody."""
    given = settings(MONGODB, tmp_path, berth_mongo_settings=["ttlMonitorSleepSecs = 1"])
    container = launch.container("mongo:8", given, ACCOUNT)
    shown = f"{container.environment} {container.command}"
    assert ACCOUNT.password not in shown
    assert container.environment["MONGO_INITDB_ROOT_PASSWORD_FILE"] in container.files
    assert container.files["/berth/password"] == b"s/cret"
    key = container.files["/berth/keyfile"].decode()
    assert 6 <= len(key) <= 1024
    assert key not in shown
    assert "--replSet berth-0123" in " ".join(container.command)
    assert "--setParameter ttlMonitorSleepSecs=1" in " ".join(container.command)


def test_the_oplog_tells_each_document_also_of_transactions() -> None:
    """What others have written, and no-ops, are passed over."""
    inner = [
        {"op": "i", "ns": f"{NAME}.users", "o": {"_id": 1}},
        {"op": "d", "ns": "elsewhere.users", "o": {"_id": 2}},
        {"op": "u", "ns": f"{NAME}.users", "o2": {"_id": "x"}, "o": {}},
    ]
    told = changes(
        [
            {"op": "n", "ns": ""},
            {"op": "n", "ns": f"{NAME}.users", "o": {}},
            {"op": "c", "ns": "admin.$cmd", "o": {"applyOps": inner}},
            {"op": "d", "ns": f"{NAME}.orders.lines", "o": {"_id": 3}},
            {"op": "i", "ns": f"{NAME}.system.buckets.weather", "o": {"_id": 4}},
            {"op": "i", "ns": f"{NAME}0.users", "o": {"_id": 5}},
        ],
        NAME,
    )
    assert told.writes == {
        "users": [Entry("users", "i", id_from(1)), Entry("users", "u", id_from("x"))],
        "orders.lines": [Entry("orders.lines", "d", id_from(3))],
        "weather": [Entry("weather", "i", id_from(4))],
    }
    assert not told.definitions
    assert not told.anything
    assert told.elsewhere


@pytest.mark.parametrize(
    "command", [{"create": "users"}, {"drop": "users"}, {"commitIndexBuild": "users"}]
)
def test_the_oplog_tells_definitions(command: dict[str, str]) -> None:
    """Alone, and in a transaction."""
    entry = {"op": "c", "ns": f"{NAME}.$cmd", "o": command}
    assert changes([entry], NAME).definitions
    assert changes([{"op": "c", "ns": "admin.$cmd", "o": {"applyOps": [entry]}}], NAME).definitions
    assert not changes([{**entry, "ns": "elsewhere.$cmd"}], NAME)


def test_what_berth_has_written_is_taken_out_once() -> None:
    """A test may write the same again."""
    entry = {"op": "d", "ns": f"{NAME}.users", "o": {"_id": 1}}
    own = Counter([Entry("users", "d", id_from(1))])
    assert not changes([entry], NAME, own.copy())
    assert changes([entry, entry], NAME, own.copy())


def _collection(*documents: dict[str, Any], **options: Any) -> Collection:
    data = b"".join(bson.encode(each) for each in documents)
    return Collection("collection", bson.encode(options), {}, data)


def test_as_little_is_written_as_can_be() -> None:
    """Documents that came, and those that changed; all where one went, or the order is another."""
    one, two, new = ({"_id": number} for number in (1, 2, 3))
    before = _collection(one, two)
    assert plan(before, before) == Plan()
    assert plan(_collection(one, two, new), before) == Plan([id_from(3)], {})
    changed = _collection({"_id": 1, "a": 1}, two)
    assert plan(changed, before) == Plan([], {id_from(1): bson.encode(one)})
    for now in (_collection(two), _collection(two, one), _collection(new, one, two)):
        found = plan(now, before)
        assert found.is_emptied
        assert found.inserted == before.documents
    assert plan(_collection(), before) == Plan([], {}, False, before.documents)
    assert plan(_collection(new), _collection()) == Plan([id_from(3)], {}, True, {})
    series = replace(_collection({"at": 1}, {"at": 1}), kind="timeseries")
    assert len(plan(_collection(), series).inserted) == 2


@pytest.mark.parametrize(
    "value", [bson.ObjectId("6" * 24), 1, bson.Int64(1), 1.0, "é", b"\0", {"a": 1}, None]
)
def test_an_id_is_told_by_type_and_value(value: Any) -> None:
    """As it stands in a document, and as it is looked for."""
    document = bson.encode({"_id": value, "a": 1})
    assert id_of(document) == id_from(value)
    assert with_id(id_of(document)).raw == bson.encode({"_id": value})
    assert list(split(document * 2)) == [document] * 2
    assert id_from(1) != id_from(1.0)


def test_transactions_that_are_left_open_are_ended_by_their_sessions() -> None:
    """Those of the worker's clients; of its own account only where more is not allowed."""
    operation = {"lsid": {"id": b"session", "uid": b"user"}, "transaction": {}, "appName": NAME}
    client: Any = Answers(aggregate=[[operation]])
    found = transactions.left_open(client, NAME, is_alone=False)
    assert found == [operation]
    (_, (current, match)) = client.sent[0]
    assert current == {"$currentOp": {"allUsers": True, "idleSessions": True}}
    assert match["$match"]["appName"] == NAME
    transactions.end(client, found)
    assert client.sent[1:] == [("killAllSessionsByPattern", [{"lsid": operation["lsid"]}])]

    client = Answers(aggregate=[13, []], killAllSessionsByPattern=13)
    assert transactions.left_open(client, NAME, is_alone=True) == []
    (_, (current, match)) = client.sent[1]
    assert current == {"$currentOp": {"idleSessions": True}}
    assert "appName" not in match["$match"]
    transactions.end(client, found)
    assert client.sent[-1] == ("killSessions", [{"id": b"session"}])
    assert "open for 0.0 s, by berth_run_gw0" in transactions.described(operation)


class Database(dict[str, Any]):
    """A database whose collections find one document."""

    name = NAME

    def __missing__(self, name: str) -> Database:
        """Return a collection."""
        self.asked = name
        return self

    def find_one(self, query: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a document that has the key."""
        return {"_id": 1, **query, "password": "abracadabra"}


@pytest.mark.parametrize("kind", [DuplicateKeyError, OperationFailure, BulkWriteError])
def test_the_document_in_the_way_is_told(kind: type[OperationFailure]) -> None:
    """The server tells the key, and the collection in its message."""
    details: dict[str, Any] = {
        "code": 11000,
        "keyValue": {"email": "a"},
        "errmsg": f"E11000 duplicate key error collection: {NAME}.users index: email_1 dup key: ",
    }
    if kind is BulkWriteError:
        error: OperationFailure = BulkWriteError({"writeErrors": [details]})
    else:
        error = kind("duplicate", 11000, details)
    database: Any = Database()
    (line,) = describe_changes.in_the_way(database, error)
    assert line == "users has it: {'_id': 1, 'email': 'a', 'password': ***}"
    assert describe_changes.in_the_way(database, ValueError()) == ()
    assert describe_changes.in_the_way(database, OperationFailure("another", 13)) == ()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("mongodb://db", "mongodb://db/x?appName=x"),
        ("mongodb://db:1,other:2/?replicaSet=rs", "mongodb://db:1,other:2/x?replicaSet=rs&appName=x"),
        ("mongodb://a:b%2F@[::1]:7/shop?tls=true", "mongodb://a:b%2F@[::1]:7/x?tls=true&authSource=shop&appName=x"),
        ("mongodb+srv://a:b@db/?appName=y", "mongodb+srv://a:b@db/x?appName=x"),
    ],
)  # fmt: skip
def test_a_given_url_keeps_its_hosts_and_options(given: str, expected: str) -> None:
    """Not its database: tests work in others. That it names is where the account is."""
    assert urls.url(urls.server(given, ""), "x") == expected


def test_the_address_of_a_server_of_berths() -> None:
    """The driver looks for no other members, whose addresses are the container's own."""
    assert urls.url(SERVER, "x") == (
        "mongodb://berth:s%2Fcret@127.0.0.1:15000/x"
        "?authSource=admin&directConnection=true&appName=x"
    )
    assert ACCOUNT.password not in urls.mongosh(SERVER, "x")
    server = urls.server("mongodb://db.example/", "")
    assert (server.host, server.port) == ("db.example", 27017)
    server = urls.server("mongodb://[::1]", "")
    assert (server.host, server.port) == ("::1", 27017)
