import pytest
from fastapi.testclient import TestClient

from app import app


@pytest.fixture
def client(redis_client, kafka_probe):
    return TestClient(app)
