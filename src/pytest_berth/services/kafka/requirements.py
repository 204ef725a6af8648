"""What one test asks of Kafka: its topics with fixed names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.config import markers
from pytest_berth.config.common_options import RUN
from pytest_berth.config.options import EXPORT
from pytest_berth.errors import SettingsError
from pytest_berth.isolation.lifecycle import has_own_server
from pytest_berth.run.plugin_state import PLUGIN_STATE
from pytest_berth.run.run import MAIN
from pytest_berth.services.kafka.options import SCOPE, TOPICS, berth_kafka, topic_name
from pytest_berth.services.kafka.service import KAFKA

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from pytest_berth.run.plugin_state import PluginState

_PREFIX = "kafka_prefix"


def check(items: Sequence[pytest.Item]) -> None:
    """Check what the selected tests ask for.

    Raises:
        SettingsError: A marker has an argument or value that cannot be used.
    """
    for item in items:
        topics_of(item)
    _hint(items, items[0].config.stash[PLUGIN_STATE])


def topics_of(item: pytest.Item) -> tuple[str, ...]:
    """Return the topics with fixed names that a test uses: the run's, and its markers'.

    Raises:
        SettingsError: A name is none that Kafka allows.
    """
    marker = berth_kafka(**markers.read(item, berth_kafka))
    try:
        own = [topic_name(topic) for topic in marker.topics]
    except TypeError:
        raise SettingsError(
            f"topics are given as {marker.topics!r}, which are no names.",
            why=f"@pytest.mark.berth_kafka(topics=...) at {item.nodeid}",
            remedy="use a name, or several: topics=['orders', 'payments']",
        ) from None
    except ValueError as error:
        raise SettingsError(
            "a topic has a name that Kafka does not allow.",
            why=f"@pytest.mark.berth_kafka(topics=...) at {item.nodeid}",
            remedy=str(error),
        ) from None
    return tuple(dict.fromkeys([*item.config.stash[PLUGIN_STATE].settings[TOPICS], *own]))


def isolation(item: pytest.Item) -> str:
    """Describe the test's isolation, and why it was chosen."""
    topics = topics_of(item)
    if has_own_server(item, KAFKA):
        return "own broker: nothing of another test is there"
    if not topics:
        return "names: topics and groups of the test's own"
    return f"emptied: {', '.join(topics)}; other topics and groups are the test's own"


def is_prefixed(berth: PluginState) -> bool:
    """Tell whether the application puts ``{kafka_prefix}`` before its topics."""
    return any(_PREFIX in export.placeholders for export in berth.exports)


def _hint(items: Sequence[pytest.Item], berth: PluginState) -> None:
    """Say that workers meet in a topic with a fixed name, where nothing keeps them apart."""
    if berth.run.worker == MAIN or is_prefixed(berth) or berth.settings[SCOPE] != RUN:
        return
    meeting = [
        item
        for item in items
        if topics_of(item) and not _in_group(item) and not has_own_server(item, KAFKA)
    ]
    if not meeting:
        return
    topic = topics_of(meeting[0])[0]
    text = (
        f"kafka: under xdist, workers meet in the topic {topic!r} ({meeting[0].nodeid}): put"
        f" {{{_PREFIX}}} before its name by {EXPORT.name}, or set berth_kafka_scope = worker, or"
        " mark the tests with xdist_group and use --dist loadgroup"
    )
    berth.hint(text)


def _in_group(item: pytest.Item) -> bool:
    grouped = item.get_closest_marker("xdist_group") is not None
    return grouped and item.config.getoption("dist", "no") in {"loadgroup", "no"}
