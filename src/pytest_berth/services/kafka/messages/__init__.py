"""Messages of Kafka's protocol that kafka-python does not have: descriptions of KIP-848's groups.

https://kafka.apache.org/protocol#The_Messages_ConsumerGroupDescribe
"""

from __future__ import annotations

import warnings

from pytest_berth.services.kafka.kafka_python import ApiMessage

# kafka-python reads the messages' files as it reads its own: see kafka_python
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)

    class ConsumerGroupDescribeRequest(ApiMessage, load_json=__name__):  # type: ignore[misc,call-arg]  # kafka-python has no types
        """Asks for the state of groups of the protocol ``consumer``."""

    class ConsumerGroupDescribeResponse(ApiMessage, load_json=__name__):  # type: ignore[misc,call-arg]  # kafka-python has no types
        """Their states, members and partitions."""
