"""factory_boy's private names: where the sequence of a factory stands."""

from __future__ import annotations

from typing import Any


def sequence(options: Any) -> int | None:
    """Return the next number of a factory's sequence; None where none was asked for yet.

    Args:
        options: What the factory's class ``Meta`` has become.
    """
    counter = options._counter
    return None if counter is None else counter.seq


def set_sequence(options: Any, number: int | None) -> None:
    """Let a factory's sequence go on with a number; by None it begins when it is asked for.

    Args:
        options: What the factory's class ``Meta`` has become.
        number: What `sequence` has returned.
    """
    if number is None:
        options._counter = None
    elif options._counter is not None:
        options._counter.reset(number)


def first_factory(options: Any) -> Any:
    """Return the options of the factory whose sequence a factory shares: its own mostly."""
    return options.counter_reference
