"""The fixtures of S3, besides those that every service has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from pytest_berth.services.s3.namespace import S3Namespace


@pytest.fixture(scope="session")
def s3_options(_s3_namespace: S3Namespace) -> dict[str, Any]:
    """The arguments by which boto3 and aiobotocore reach the server: address, keys, region.

    Scope: session; for clients of your own, and for fixtures of a wider scope:
    ``boto3.client("s3", **s3_options)``.
    """
    return dict(_s3_namespace.options)


@pytest.fixture
def _s3_dedicated_options(_s3_namespace: S3Namespace) -> dict[str, Any]:
    return dict(_s3_namespace.options)


@pytest.fixture(scope="session")
def s3_storage_options(_s3_namespace: S3Namespace) -> dict[str, Any]:
    """The arguments by which s3fs, and so fsspec, pandas and polars, reach the server.

    Scope: session.
    """
    from pytest_berth.services.s3 import clients

    return clients.storage_options(_s3_namespace.options)


@pytest.fixture
def _s3_dedicated_storage_options(_s3_namespace: S3Namespace) -> dict[str, Any]:
    from pytest_berth.services.s3 import clients

    return clients.storage_options(_s3_namespace.options)


@pytest.fixture(scope="session")
def s3_bucket(_s3_namespace: S3Namespace) -> str:
    """Name of this worker's bucket, which is there before each test, and empty.

    Scope: session.
    """
    return _s3_namespace.bucket


@pytest.fixture
def _s3_dedicated_bucket(_s3_namespace: S3Namespace) -> str:
    return _s3_namespace.bucket


@pytest.fixture
def s3_make_bucket(_s3_isolation: None, _s3_namespace: S3Namespace) -> Callable[[str], str]:
    """A function that creates a further bucket and returns its name: ``s3_make_bucket("logs")``.

    Scope: function. The name begins with the worker's prefix; the bucket goes with the test.
    """
    return _s3_namespace.make_bucket


@pytest.fixture
def s3_client(_s3_isolation: None, s3_options: dict[str, Any]) -> Iterator[Any]:
    """boto3's client of S3; it tries nothing again.

    Scope: function.
    """
    from pytest_berth.services.s3 import clients

    client = clients.client(s3_options)
    try:
        yield client
    finally:
        client.close()


@pytest.fixture
def s3_resource(_s3_isolation: None, s3_options: dict[str, Any]) -> Iterator[Any]:
    """boto3's resource of S3; it tries nothing again.

    Scope: function.
    """
    from pytest_berth.services.s3 import clients

    resource = clients.resource(s3_options)
    try:
        yield resource
    finally:
        resource.meta.client.close()


@pytest.fixture
def s3_async_client(
    _s3_isolation: None, s3_options: dict[str, Any]
) -> AbstractAsyncContextManager[Any]:
    """What opens aiobotocore's client: ``async with s3_async_client as s3: ...``.

    Scope: function. It belongs to the event loop in which it is opened. Needs aiobotocore.
    """
    from pytest_berth.services.s3 import clients

    return clients.async_client(s3_options)
