import os

import redis
from fastapi import FastAPI
from kafka import KafkaProducer

app = FastAPI()
topic = os.environ.get("KAFKA_PREFIX", "") + "page.visited"
store = redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)


def publish(to: str, key: str, value: str) -> None:
    producer = KafkaProducer(bootstrap_servers=os.environ["KAFKA_BOOTSTRAP"])
    producer.send(to, key=key.encode(), value=value.encode()).get(timeout=10)
    producer.close(timeout=1)


@app.post("/pages/{page}/visits", status_code=201)
def visit(page: str) -> int:
    visits = int(store.incr(f"visits:{page}"))
    publish(topic, page, str(visits))
    return visits
