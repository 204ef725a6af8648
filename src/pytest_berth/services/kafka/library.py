"""kafka-python, imported without its warnings.

Some releases read their protocol's files in a way that Python 3.11 and 3.12 warn of, at each of a
hundred files, and suites turn warnings into errors.
"""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import (
        KafkaAdminClient,
        KafkaConsumer,
        KafkaProducer,
        OffsetSpec,
        TopicPartition,
        errors,
    )
    from kafka.admin import ConfigResource, ConfigResourceType
    from kafka.net.compat import KafkaNetClient

__all__ = [
    "ConfigResource",
    "ConfigResourceType",
    "KafkaAdminClient",
    "KafkaConsumer",
    "KafkaNetClient",
    "KafkaProducer",
    "OffsetSpec",
    "TopicPartition",
    "errors",
]
