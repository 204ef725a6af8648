"""What a test leaves open on a broker: consumers in their groups, and transactions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.services.kafka import transactions
from pytest_berth.services.kafka.consumer_groups import Groups

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from pytest_berth.services.kafka.brokers import Brokers

_MOST = 20


def lines(
    brokers: Brokers,
    known: Collection[str],
    is_ours: Callable[[Collection[str]], bool],
    is_own_group: Callable[[str], bool],
) -> Iterator[str]:
    """Yield the groups that have consumers, and the open transactions.

    Args:
        brokers: Where.
        known: The groups that a test's fixtures close, or that were there before it.
        is_ours: Whether all of some topics are the worker's.
        is_own_group: Whether a group is the worker's by its name.
    """
    for name, written in transactions.find_open(brokers).items():
        if written and is_ours(written):
            yield (
                f"the transaction of {name!r} is open: it has written to"
                f" {', '.join(sorted(written))}; who reads committed records sees no later ones"
            )
    groups = Groups(brokers)
    living = [name for name, each in groups.all().items() if not each.has_ended]
    for name in sorted(set(living) - set(known))[:_MOST]:
        group = groups.find(name)
        if group and (is_own_group(name) or is_ours({topic for topic, _ in group.held})):
            yield str(group)
