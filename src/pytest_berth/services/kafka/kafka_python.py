"""kafka-python, imported without its warnings.

Some releases read their protocol's files in a way that Python 3.11 and 3.12 warn of, at each of a
hundred files, and suites turn warnings into errors.
"""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition, errors
    from kafka.consumer.fetcher import Fetcher
    from kafka.net.compat import KafkaNetClient
    from kafka.partitioner import murmur2
    from kafka.protocol import admin as admin_messages
    from kafka.protocol import consumer as consumer_messages
    from kafka.protocol import metadata as metadata_messages
    from kafka.protocol import producer as producer_messages
    from kafka.protocol.api_message import ApiMessage
    from kafka.protocol.broker_version_data import BrokerVersionData
    from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment
    from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder

__all__ = [
    "ApiMessage",
    "BrokerVersionData",
    "ConsumerProtocolAssignment",
    "Fetcher",
    "KafkaAdminClient",
    "KafkaConsumer",
    "KafkaNetClient",
    "KafkaProducer",
    "MemoryRecords",
    "MemoryRecordsBuilder",
    "TopicPartition",
    "admin_messages",
    "consumer_messages",
    "errors",
    "metadata_messages",
    "murmur2",
    "producer_messages",
]
