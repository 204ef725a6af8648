"""Where Postgres, Redis and the payment service are: the environment says so."""

import os
from functools import cache

import httpx
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker

ANSWERED_WITHIN = 5.0


@cache
def sessions() -> sessionmaker[Session]:
    return sessionmaker(create_engine(os.environ["DATABASE_URL"]))


@cache
def redis() -> Redis:
    # Tried again, a command whose answer was lost would take the same pieces twice.
    return Redis.from_url(os.environ["REDIS_URL"], retry=Retry(NoBackoff(), 0))


@cache
def payment_service() -> httpx.Client:
    return httpx.Client(base_url=os.environ["PAYMENTS_URL"], timeout=ANSWERED_WITHIN)
