import pytest


@pytest.mark.parametrize("run", ["first", "second"])
def test_the_first_visit_is_counted_and_published(client, redis_client, kafka_probe, run):
    response = client.post("/pages/home/visits")

    assert response.json() == 1
    assert redis_client.get("visits:home") == b"1"
    event = kafka_probe.expect_one("page.visited")
    assert (event.key, event.value) == (b"home", b"1")
