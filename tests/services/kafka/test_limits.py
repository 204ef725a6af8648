"""What becomes of each change that a test can make is as the documentation's table says."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from limit_tables import kafka
from limit_tables.table import SERVERS
from marks import usual
from pytest_berth.services.kafka.service import KAFKA

from .test_restore import HELPERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Project
    from pytest_berth.api import Service

AUTHORIZER = """
  authorizer.class.name = org.apache.kafka.metadata.authorizer.StandardAuthorizer
  super.users = User:ANONYMOUS"""
TESTS = """
import json
from pathlib import Path

import pytest
from confluent_kafka import IsolationLevel, KafkaError, KafkaException
from helpers import *

HERE = Path(__file__).parent
SEEN = []
CASES = [
    pytest.param(number, row, phase, id=f"{number}-{phase}")
    for number, row in enumerate(json.loads((HERE / "rows.json").read_text()))
    for phase in ("before", "change", "after")
]

# While a group's coordinator moves or loads, a broker refuses to tell of the group.
def patiently(call, *arguments):
    refusals = (KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS)
    found = []
    def is_answered():
        try:
            found.append(call(*arguments))
        except KafkaException as error:
            if error.args[0].code() not in refusals:
                raise
        return bool(found)
    wait_for(is_answered, 60)
    return found[0]

def names(admin):
    return admin.list_topics(timeout=60).topics

def commit_in(topic, group, bootstrap):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    def is_committed():
        consumer.commit(offsets=[TopicPartition(topic, 0, 1)], asynchronous=False)
        return True
    wait_for(is_committed, 60, ignore=Exception)
    consumer.close()

def committed(group, bootstrap):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    (found,) = consumer.committed([TopicPartition("limits.topic", 0)], timeout=60)
    consumer.close()
    return found.offset

def records(admin):
    first, last = (
        admin.list_offsets({TopicPartition("limits.topic", 0): kind})
        for kind in (OffsetSpec.earliest(), OffsetSpec.latest())
    )
    (first,), (last,) = first.values(), last.values()
    return last.result(60).offset - first.result(60).offset

LEFT_OPEN = []

def open_transaction(bootstrap):
    LEFT_OPEN.append(Producer(
        {"bootstrap.servers": bootstrap, "transactional.id": "limits", "log_level": 0}))
    LEFT_OPEN[-1].init_transactions(60)
    LEFT_OPEN[-1].begin_transaction()
    LEFT_OPEN[-1].produce("limits.topic", b"not committed", partition=0)
    assert LEFT_OPEN[-1].flush(60) == 0

def is_open(admin):
    # What is in an open transaction cannot be read by those who read what is committed.
    partition = TopicPartition("limits.topic", 0)
    last, stable = (
        admin.list_offsets({partition: OffsetSpec.latest()}, isolation_level=level)[partition]
        for level in (IsolationLevel.READ_UNCOMMITTED, IsolationLevel.READ_COMMITTED)
    )
    return last.result(60).offset > stable.result(60).offset

RULE = dict(restype=ResourceType.TOPIC, name="limits.topic",
    resource_pattern_type=ResourcePatternType.LITERAL, principal="User:limits", host="*",
    operation=AclOperation.READ, permission_type=AclPermissionType.ALLOW)

def alter_user(admin, change):
    done(admin.alter_user_scram_credentials([change]))

CHANGES = {
    "open_transaction": lambda a, p, b: open_transaction(b),
    "create_acl": lambda a, p, b: done(a.create_acls([AclBinding(**RULE)])),
    "delete_acl": lambda a, p, b: done(a.delete_acls([AclBindingFilter(**RULE)])),
    "create_user": lambda a, p, b: alter_user(a, UserScramCredentialUpsertion("limits",
        ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096), b"secret")),
    "delete_user": lambda a, p, b: alter_user(a,
        UserScramCredentialDeletion("limits", ScramMechanism.SCRAM_SHA_256)),
    "publish": lambda a, p, b: p.publish("limits.topic", 1),
    "commit": lambda a, p, b: (p.publish("limits.topic", 1),
        commit_in("limits.topic", "limits.standing", b)),
    "alter_topic": lambda a, p, b: alter(a, ResourceType.TOPIC, "limits.topic",
        cleanup_policy="compact"),
    "add_partitions": lambda a, p, b: done(a.create_partitions([NewPartitions("limits.topic", 3)])),
    "delete_topic": lambda a, p, b: done(a.delete_topics(["limits.topic"])),
    "create_topic": lambda a, p, b: done(a.create_topics([NewTopic("limits.other", 1)])),
    "delete_other": lambda a, p, b: done(a.delete_topics(["limits.other"])),
    "new_group": lambda a, p, b: (p.publish("limits.topic", 1),
        done(a.create_topics([NewTopic("limits.of.group", 1)])),
        commit_in("limits.of.group", "limits.group", b)),
    "delete_group": lambda a, p, b: (done(a.delete_consumer_groups(["limits.group"])),
        done(a.delete_topics(["limits.of.group"]))),
    "alter_broker": lambda a, p, b: alter(a, ResourceType.BROKER, "1", message_max_bytes="2000000"),
    "set_back": lambda a, p, b: alter(a, ResourceType.BROKER, "1", message_max_bytes="1048588"),
}
PROBES = {
    "open_transactions": lambda a, b: is_open(a),
    "acls": lambda a, b: list(map(str, a.describe_acls(AclBindingFilter(**RULE)).result(60))),
    "users": lambda a, b: [each for each in a.describe_user_scram_credentials().result(60)
        if each == "limits"],
    "records": lambda a, b: records(a),
    "offsets": lambda a, b: committed("limits.standing", b),
    "topic_settings": lambda a, b: configs(a, ResourceType.TOPIC, "limits.topic")["cleanup.policy"],
    "partitions": lambda a, b: len(names(a)["limits.topic"].partitions),
    "topics": lambda a, b: [each for each in sorted(names(a)) if each.startswith("limits")],
    "groups": lambda a, b: [each.group_id for each in a.list_consumer_groups().result(60).valid
        if each.group_id == "limits.group"],
    "broker_settings": lambda a, b: configs(a, ResourceType.BROKER, "1")["message.max.bytes"],
}

@pytest.mark.parametrize(("number", "row", "phase"), CASES)
def test_row(number, row, phase, admin, kafka_probe, kafka_bootstrap):
    probe = lambda: patiently(PROBES[row["probe"]], admin, kafka_bootstrap)
    change = lambda name: patiently(CHANGES[name], admin, kafka_probe, kafka_bootstrap)
    if phase == "before":
        SEEN[:] = [probe()]
    elif phase == "change":
        try:
            change(row["change"][0])
        except KafkaException as error:
            assert error.args[0].code() == KafkaError.SECURITY_DISABLED
            SEEN.clear()
        else:
            wait_for(lambda: probe() != SEEN[0], 60, ignore=KeyError)
    elif SEEN:
        changed = probe() != SEEN[0]
        with (HERE / "found.jsonl").open("a") as file:
            file.write(json.dumps([number, changed]) + "\\n")
        for undo in row["undo"] if changed else ():
            change(undo)
            wait_for(lambda: probe() == SEEN[0], 60)
"""
OTHER_WORKER = "def test_of_another_worker(kafka_probe): pass"


@pytest.mark.parametrize("server", usual(SERVERS, SERVERS[0]))
def test_what_becomes_of_each_change_is_as_documented(
    server: str,
    request: pytest.FixtureRequest,
    project: Project,
    require_service: Callable[[Service, str], None],
) -> None:
    if server == "external":
        source = f"berth_kafka_url = {request.getfixturevalue('kafka_bootstrap')}"
    else:
        require_service(KAFKA, "local")
        source = "berth_kafka_source = local\nberth_kafka_settings = " + AUTHORIZER
    allowed = "berth_kafka_allow_reset = limits.*"
    project.ini(source, allowed, "berth_kafka_topics = limits.topic")
    project.plugins = ("xdist", "xdist.looponfail")
    rows = kafka.TABLE.rows
    (project.root / "rows.json").write_text(json.dumps([asdict(row) for row in rows]))
    imported = "ScramMechanism, OffsetSpec, AclBindingFilter, UserScramCredentialDeletion,"
    helpers = HELPERS.replace("ScramMechanism,", imported)
    project.write(helpers=helpers, test_rows=TESTS, test_other=OTHER_WORKER)
    project.conftest("from helpers import admin")
    workers = ("-n2", "--dist=loadfile") if server == "several workers" else ()
    result = project.run("-p", "no:randomly", *workers)

    place = SERVERS.index(server)
    expected = [row.outcomes[0][place] for row in rows]
    result.assert_outcomes(passed=3 * len(rows) + 1, errors=expected.count("x"))
    lines = (project.root / "found.jsonl").read_text().splitlines()
    failed = [line for line in result.outlines if line.startswith("ERROR ")]
    found = {number: _letter(number, changed, failed) for number, changed in map(json.loads, lines)}
    # A broker without an authorizer has no ACLs, and so no outcome.
    assert found == {number: expected[number] for number in found}
    assert len(found) >= len(rows) - 1


def _letter(number: int, changed: bool, failed: list[str]) -> str:
    if any(f"test_row[{number}-change]" in line for line in failed):
        return "x" if changed else "f"
    return "s" if changed else "b"
