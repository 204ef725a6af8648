"""Questions about consumer groups: answered by a coordinator, which a new broker does not have yet.

It comes with the first group of any test, and meanwhile every question about groups is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pytest_berth.services.kafka.kafka_python import errors as kafka_errors
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_WITHIN = 20.0
_NOT_YET = (
    kafka_errors.CoordinatorNotAvailableError,
    kafka_errors.CoordinatorLoadInProgressError,
    kafka_errors.NotCoordinatorError,
)


def coordinated(ask: Callable[[], T]) -> T:
    """Return what *ask* returns, asking again until there is a coordinator.

    Raises:
        TimeoutError: There is none after 20 s.
    """
    (answer,) = wait_for(lambda: (ask(),), _WITHIN, ignore=_NOT_YET, message="Kafka's coordinator")
    return answer
