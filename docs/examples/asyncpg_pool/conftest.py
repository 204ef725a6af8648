import pytest

from app import connect


@pytest.fixture
async def pool(pg_dsn):
    async with connect(pg_dsn) as pool:
        yield pool
