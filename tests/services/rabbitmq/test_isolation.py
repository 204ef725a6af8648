"""A clean virtual host for each test: what tests change, leave open, and have for themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Project

    from .conftest import Outer

SEEDED = """
    import pika
    import pytest
    from api import ask

    def connect(url):
        parameters = pika.URLParameters(url)
        parameters.heartbeat = 0
        return pika.BlockingConnection(parameters)

    @pytest.fixture(scope="session")
    def api(rabbitmq_url, rabbitmq_management_url):
        return lambda *arguments: ask(rabbitmq_url, rabbitmq_management_url, *arguments)

    @pytest.fixture(scope="module")
    def seeded(rabbitmq_url):
        connection = connect(rabbitmq_url)
        channel = connection.channel()
        channel.exchange_declare("orders", "topic", durable=True)
        dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
        channel.queue_declare("work", durable=True, arguments=dead)
        channel.queue_declare("dead")
        channel.queue_bind("work", "orders", "order.*")
        for number in range(3):
            properties = pika.BasicProperties(headers={"number": number, "of": "seed"})
            channel.basic_publish("orders", "order.new", b"seed", properties)
        channel.queue_declare("work", passive=True)
        yield connection
        connection.channel()  # still open
        connection.close()

    def check(channel, api):
        exact = "?disable_stats=true&enable_queue_totals=true"
        queues = {each["name"]: each for each in api("GET", "/queues/{v}" + exact)}
        assert {name: each["messages"] for name, each in queues.items()} == {"work": 3, "dead": 0}
        assert queues["work"]["arguments"]["x-dead-letter-routing-key"] == "dead"
        told = api("GET", "/definitions/{v}")
        assert [each["name"] for each in told["exchanges"]] == ["orders"]
        found = [(each["destination"], each["routing_key"]) for each in told["bindings"]]
        assert found == [("work", "order.*")]
        assert not told["policies"]
        assert not any(each["value"] for each in told["parameters"])
        for number in range(3):
            method, properties, body = channel.basic_get("work", auto_ack=True)
            assert (body, properties.headers) == (b"seed", {"number": number, "of": "seed"})
            assert not method.redelivered
"""
CHANGES = """
    import datetime, decimal

    from shared import connect

    LEFT = []

    def nothing(channel, url, api):
        pass

    def consume(channel, url, api):
        channel.basic_get("work", auto_ack=True)

    def leave_unacknowledged(channel, url, api):
        channel.basic_get("work")

    def replace_messages(channel, url, api):
        channel.queue_purge("work")
        for _ in range(3):
            channel.basic_publish("", "work", b"other")

    def publish(channel, url, api):
        channel.basic_publish("orders", "order.new", b"more")
        channel.basic_publish("", "dead", b"more")

    def delete(channel, url, api):
        channel.queue_delete("work")
        channel.exchange_delete("orders")

    def declare_otherwise(channel, url, api):
        channel.queue_delete("work")
        channel.queue_declare("work")
        channel.exchange_delete("orders")
        channel.exchange_declare("orders", "fanout")

    def bind(channel, url, api):
        channel.queue_unbind("work", "orders", "order.*")
        channel.queue_bind("dead", "orders", "#", arguments={"a": 1})
        # As they are told, several are alike, and not what was sent.
        at = datetime.datetime.fromtimestamp(1, datetime.timezone.utc)
        for value in (at, 1, 2**40, True, None, b"raw", decimal.Decimal("1.5"), {"n": [at]}):
            channel.queue_bind("dead", "orders", "a.b", arguments={"value": value})
            channel.exchange_bind("amq.fanout", "orders", "", arguments={"value": value})

    def declare(channel, url, api):
        channel.queue_declare("new")
        channel.exchange_declare("new")
        channel.queue_bind("new", "new", "key")
        channel.exchange_bind("new", "orders", "key")
        channel.basic_publish("new", "key", b"new")

    def own_a_queue(channel, url, api):
        LEFT.append(connect(url))
        mine = LEFT[-1].channel()
        mine.queue_declare("mine", exclusive=True)
        mine.queue_bind("mine", "orders", "#")

    def leave_a_consumer(channel, url, api):
        LEFT.append(connect(url))
        LEFT[-1].channel().basic_consume("dead", lambda *_: None)

    def set_policies(channel, url, api):
        policy = {"pattern": ".*", "definition": {"max-length": 1}, "apply-to": "queues"}
        api("PUT", "/policies/{v}/short", policy)
        api("PUT", "/operator-policies/{v}/short", policy)
        api("PUT", "/vhost-limits/{v}/max-queues", {"value": 50})

    def lose_the_permission(channel, url, api):
        from urllib.parse import urlsplit
        api("DELETE", "/permissions/{v}/" + urlsplit(url).username)

    ALL = [value for name, value in list(globals().items()) if callable(value)]
    ALL.remove(connect)
"""


def test_what_a_test_changes_is_put_back(served: Project) -> None:
    """Messages, queues, exchanges, bindings, policies; and what open connections hold."""
    served.write(
        shared=SEEDED,
        changes=CHANGES,
        test_it="""
            import changes
            import pytest
            from shared import api, check, seeded

            @pytest.mark.parametrize("change", changes.ALL, ids=lambda each: each.__name__)
            def test_change(change, seeded, rabbitmq_channel, rabbitmq_url, api):
                change(rabbitmq_channel, rabbitmq_url, api)

            @pytest.mark.parametrize("change", changes.ALL, ids=lambda each: each.__name__)
            def test_checked(change, seeded, rabbitmq_channel, rabbitmq_url, api):
                check(rabbitmq_channel, api)
                change(rabbitmq_channel, rabbitmq_url, api)

            def test_last(seeded, rabbitmq_channel, api):
                check(rabbitmq_channel, api)
        """,
        test_later="""
            from shared import api

            def test_it(rabbitmq_channel, api):
                told = api("GET", "/definitions/{v}")
                assert not told["queues"] + told["exchanges"] + told["bindings"]

            def test_deleting_the_virtual_host(rabbitmq_url, api):
                api("DELETE", "/vhosts/{v}")

            def test_after_that(rabbitmq_channel):
                rabbitmq_channel.queue_declare("new")
        """,
    )
    result = served.run("-v")
    result.assert_outcomes(passed=2 * 13 + 1 + 3)


def test_streams_and_quorum_queues_of_fixtures_are_emptied(served: Project) -> None:
    """Nothing tells at once how many messages they hold."""
    served.write(
        shared=SEEDED,
        test_it="""
            import pytest
            from shared import connect

            KINDS = ["quorum", "stream"]

            @pytest.fixture(scope="module")
            def declared(rabbitmq_url):
                with connect(rabbitmq_url) as connection:
                    for kind in KINDS:
                        arguments = {"x-queue-type": kind}
                        connection.channel().queue_declare(kind, durable=True, arguments=arguments)

            def first_offset(channel, kind):
                channel.basic_qos(prefetch_count=10)
                arguments = {"x-stream-offset": "first"} if kind == "stream" else {}
                found = channel.consume(kind, arguments=arguments, inactivity_timeout=0.5)
                return next(found)[2]

            @pytest.mark.parametrize("kind", KINDS)
            @pytest.mark.parametrize("number", range(2))
            def test_it(kind, number, declared, rabbitmq_channel):
                assert first_offset(rabbitmq_channel, kind) is None
                rabbitmq_channel.cancel()
                rabbitmq_channel.basic_publish("", kind, b"value")
        """,
    )
    served.run().assert_outcomes(passed=4)


def test_connections_that_hold_nothing_stay_open(served: Project) -> None:
    """An application's, opened in a test, is used by the next one; fixtures' consumers go on."""
    served.write(
        shared=SEEDED,
        test_it="""
            import pytest
            from shared import connect

            OPENED, GOT = [], []

            @pytest.fixture(scope="session")
            def consumer(rabbitmq_url):
                with connect(rabbitmq_url) as connection:
                    channel = connection.channel()
                    channel.queue_declare("work", durable=True)
                    take = lambda channel, method, properties, body: GOT.append(body)
                    channel.basic_consume("work", take, auto_ack=True)
                    yield connection

            @pytest.mark.parametrize("number", range(3))
            def test_it(number, consumer, rabbitmq_url):
                OPENED[:] = OPENED or [connect(rabbitmq_url)]
                OPENED[0].channel().basic_publish("", "work", str(number).encode())
                while len(GOT) <= number:
                    consumer.process_data_events(1)
                assert GOT[number] == str(number).encode()

            def test_unacknowledged(consumer, rabbitmq_url):
                channel = OPENED[0].channel()
                channel.queue_declare("work", passive=True)
        """,
    )
    served.run().assert_outcomes(passed=4)


def test_a_test_may_have_a_virtual_host_of_its_own(served: Project, outer: Outer) -> None:
    """By the marker; it is gone afterwards, with what was left open there."""
    served.write(
        shared=SEEDED,
        test_it="""
            import pytest
            from api import ask
            from shared import connect

            SEEN = []

            @pytest.fixture(autouse=True)
            def noted(rabbitmq_url):
                with open("seen.txt", "a") as file:
                    print(rabbitmq_url.rpartition("/")[2], file=file)

            @pytest.mark.berth_rabbitmq(isolation="vhost")
            @pytest.mark.parametrize("number", range(3))
            def test_own(number, rabbitmq_channel, rabbitmq_url, rabbitmq_management_url):
                SEEN.append(rabbitmq_url)
                assert len(set(SEEN)) == number + 1
                rabbitmq_channel.queue_declare("work")
                connect(rabbitmq_url)
                told = ask(rabbitmq_url, rabbitmq_management_url, "GET", "/vhosts")
                assert rabbitmq_url.rpartition("/")[2] in {each["name"] for each in told}

            def test_shared(rabbitmq_channel, rabbitmq_url):
                assert rabbitmq_url not in SEEN
        """,
    )
    served.run("-v").assert_outcomes(passed=4)
    seen = (served.root / "seen.txt").read_text().split()
    assert len(seen) == 4
    assert not outer.vhosts() & set(seen)


def test_celery_declares_again_what_was_removed(served: Project) -> None:
    """It remembers what it has declared on a connection, which is why that is closed."""
    served.write(
        test_it="""
            import pytest
            from celery import Celery

            APPS = []

            @pytest.mark.parametrize("number", range(3))
            def test_it(number, rabbitmq_url):
                APPS[:] = APPS or [Celery("shop", broker=rabbitmq_url)]
                APPS[0].send_task("pack", [number])
                with APPS[0].connection_for_read() as connection:
                    queue = connection.SimpleQueue("celery")
                    message = queue.get(timeout=10)
                    assert message.payload[0] == [number]
                    queue.close()
        """
    )
    served.run().assert_outcomes(passed=3)


def test_what_a_thread_sends_late_is_not_the_next_test_s(served: Project) -> None:
    """It is removed before the next test begins."""
    served.write(
        shared=SEEDED,
        conftest="""
            import pytest

            @pytest.hookimpl(trylast=True)
            def pytest_runtest_teardown(item):
                for late in getattr(item.module, "LATE", ()):
                    late()
        """,
        test_it="""
            import pytest
            from shared import connect, seeded

            LATE = []

            def test_first(seeded, rabbitmq_url):
                channel = connect(rabbitmq_url).channel()

                def late():
                    channel.queue_declare("late")
                    channel.basic_publish("", "dead", b"late")
                    channel.queue_declare("late", passive=True)

                LATE.append(late)

            def test_second(seeded, rabbitmq_channel):
                LATE.clear()
                declared = rabbitmq_channel.queue_declare("dead", passive=True)
                assert declared.method.message_count == 0
                connection = rabbitmq_channel.connection
                with pytest.raises(Exception, match="NOT_FOUND"):
                    connection.channel().queue_declare("late", passive=True)
        """,
    )
    served.run().assert_outcomes(passed=2)


def test_a_failing_test_shows_what_it_has_changed(served: Project) -> None:
    """Queues, bindings, and messages that are there, or are not acknowledged."""
    served.write(
        shared=SEEDED,
        test_it="""
            from shared import seeded

            def test_it(seeded, rabbitmq_channel):
                rabbitmq_channel.queue_declare("new")
                rabbitmq_channel.queue_bind("new", "orders", "#")
                rabbitmq_channel.basic_publish("orders", "order.new", b"value")
                rabbitmq_channel.basic_get("new")
                raise RuntimeError("as it should")
        """,
    )
    served.run().stdout.fnmatch_lines(
        [
            "*- rabbitmq: what the test changed -*",
            "queue new: new",
            "binding orders -> new: new",
            "queue work: 4 messages ready, 3 before the test",
            "*- rabbitmq: what the test left behind -*",
            "queue new: 1 message not acknowledged",
        ]
    )
