import pytest
from sqlalchemy import make_url


@pytest.fixture(scope="session")
def pg_url(pg_url):
    url = make_url(pg_url).set(username="app", password="secret")
    return url.render_as_string(hide_password=False)
