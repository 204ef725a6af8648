"""What says that a connection has failed, or leads to another broker by now."""

from __future__ import annotations

from pytest_berth.services.kafka.connection import ForeignBrokerError
from pytest_berth.services.kafka.kafka_python import errors

ERRORS = (errors.KafkaError, OSError, ForeignBrokerError)
