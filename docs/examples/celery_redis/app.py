"""Counts visits in the background, with Celery and Redis."""

import os

import redis
from celery import Celery

app = Celery("app", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
store = redis.Redis.from_url(os.environ["REDIS_URL"])


@app.task
def count_visit(page: str) -> int:
    return int(store.incr(f"visits:{page}"))
