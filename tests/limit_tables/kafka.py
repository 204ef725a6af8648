"""What a test changes on a broker: by functions of the test that tries it."""

from __future__ import annotations

from .table import Row, Table

TABLE = Table(
    "Kafka",
    ("Afterwards",),
    (
        Row("Records of declared topics", ("publish",), "records", ("bbb",)),
        Row("Groups' offsets in declared topics", ("commit",), "offsets", ("bbb",)),
        Row("Settings of declared topics", ("alter_topic",), "topic_settings", ("bbb",)),
        Row("Partitions of declared topics", ("add_partitions",), "partitions", ("bbx",)),
        Row("Deletes declared topics", ("delete_topic",), "topics", ("bbb",)),
        Row("Creates other topics", ("create_topic",), "topics", ("bss",), ("delete_other",)),
        Row("Groups of new names", ("new_group",), "groups", ("bss",), ("delete_group",)),
        Row("Leaves a transaction open", ("open_transaction",), "open_transactions", ("bbb",)),
        Row("ACLs", ("create_acl",), "acls", ("bss",), ("delete_acl",)),
        Row("SCRAM users", ("create_user",), "users", ("bss",), ("delete_user",)),
        Row("Settings of brokers", ("alter_broker",), "broker_settings", ("bss",), ("set_back",)),
    ),
)
