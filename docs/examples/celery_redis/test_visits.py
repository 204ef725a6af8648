import pytest

from app import count_visit


@pytest.mark.parametrize("run", ["first", "second"])
def test_visits_are_counted_from_one(worker, run):
    assert count_visit.delay("home").get(timeout=10) == 1
    assert count_visit.delay("home").get(timeout=10) == 2


def test_what_a_task_has_written_is_there_for_the_test(worker, redis_client):
    count_visit.delay("home").get(timeout=10)

    assert redis_client.get("visits:home") == b"1"


@pytest.mark.parametrize("run", ["first", "second"])
def test_a_task_that_no_worker_takes_does_not_wait_for_the_next_test(redis_client, run):
    count_visit.apply_async(["home"], queue="nightly")

    assert redis_client.llen("nightly") == 1
