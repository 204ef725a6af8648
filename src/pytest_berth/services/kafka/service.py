"""What Kafka is to the plugin: its name, settings, fixtures and placeholders."""

from __future__ import annotations

from pytest_berth.config.descriptor import FromCompose, Service
from pytest_berth.services.kafka import options as ini

KAFKA = Service(
    "kafka",
    "pytest_berth.services.kafka.backend:Kafka",
    noun="broker",
    version=ini.VERSION,
    image=ini.IMAGE,
    url=ini.URL,
    source=ini.SOURCE,
    settings=ini.SETTINGS,
    scope=ini.SCOPE,
    port=ini.PORT,
    options=ini.OPTIONS,
    extra="kafka",
    packages=("kafka",),
    fixtures=(
        "kafka_producer",
        "kafka_consumer",
        "kafka_admin",
        "kafka_topic",
        "kafka_probe",
        "kafka_async_probe",
    ),
    fixture_module="pytest_berth.services.kafka.fixtures",
    address="bootstrap",
    address_help="Bootstrap servers of the broker: ``127.0.0.1:15092``.",
    placeholders=("kafka_bootstrap", "kafka_prefix"),
    marker=ini.MARKER,
    snapshots=True,
    compose=FromCompose(
        images=("apache/kafka",),
        alike=("apache/kafka-native", "confluentinc/cp-kafka", "confluentinc/confluent-local"),
        setting_of=ini.setting_of,
        without_effect=("CLUSTER_ID", "TZ"),
        settings=ini.SETTINGS,
    ),
    reusable=True,
    usual_start=1.0,
)
