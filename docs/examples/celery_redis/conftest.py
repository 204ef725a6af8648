import pytest
from celery.contrib.testing.worker import start_worker

from app import app


@pytest.fixture(scope="session")
def worker(redis_url):
    with start_worker(app, perform_ping_check=False):
        yield
