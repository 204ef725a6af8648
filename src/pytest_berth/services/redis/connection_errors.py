"""What redis-py raises when a connection fails."""

from __future__ import annotations

import redis

ERRORS = (redis.ConnectionError, redis.TimeoutError)
