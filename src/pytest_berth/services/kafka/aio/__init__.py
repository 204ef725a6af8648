"""Kafka for asyncio: kafka-python's blocking clients, in threads."""
