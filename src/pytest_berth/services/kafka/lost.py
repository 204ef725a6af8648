"""What kafka-python raises when a connection fails."""

from __future__ import annotations

from pytest_berth.services.kafka.library import errors

ERRORS = (errors.KafkaError, OSError)
