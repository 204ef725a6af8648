"""What a test changes in and around its database number."""

from __future__ import annotations

from .table import Row, Table

TABLE = Table(
    "Redis",
    ("Afterwards",),
    (
        Row("Keys of its own number", ("SET key 1",), "GET key", ("bbb",)),
        Row(
            "Keys of the next number",
            ("SET key 1",),
            "GET key",
            ("bbs",),
            ("DEL key",),
            database="1",
        ),
        Row(
            "`CONFIG SET`",
            ("CONFIG SET maxmemory 100mb",),
            "CONFIG GET maxmemory",
            ("bss",),
            ("CONFIG SET maxmemory 0",),
        ),
        Row(
            "Keyspace notifications",
            ("CONFIG SET notify-keyspace-events KEA",),
            "CONFIG GET notify-keyspace-events",
            ("bss",),
            ('CONFIG SET notify-keyspace-events ""',),
        ),
        Row(
            "`ACL SETUSER`",
            ("ACL SETUSER app on >word ~app:* +get",),
            "ACL USERS",
            ("bss",),
            ("ACL DELUSER app",),
        ),
        Row(
            "`FUNCTION LOAD`",
            (
                "FUNCTION LOAD \"#!lua name=mine\\nredis.register_function('mine',"
                ' function() return 1 end)"',
            ),
            "FUNCTION LIST",
            ("bss",),
            ("FUNCTION DELETE mine",),
        ),
        Row(
            "`SUBSCRIBE`, on a connection that is left open",
            ("SUBSCRIBE news",),
            "PUBSUB CHANNELS",
            ("sss",),
            ("CLIENT KILL TYPE pubsub",),
        ),
        Row(
            "`SCRIPT LOAD`",
            ('SCRIPT LOAD "return 4242"',),
            "SCRIPT EXISTS 3b323e1f604eb70c2714bec8a7c37d06ce4c9175",
            ("sss",),
            ("SCRIPT FLUSH",),
        ),
    ),
)
