import pytest

from serve import running


@pytest.fixture(scope="session")
def url(pg_url):
    with running("app:app") as url:
        yield url
