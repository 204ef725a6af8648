"""Clients of S3, set up so that nothing waits or tries again where a test would not."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from pytest_berth.errors import require_package

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager

_CONNECT_WITHIN = 5.0
# Buckets are told by paths: names such as bucket.127.0.0.1 lead nowhere.
_BEHAVIOUR: dict[str, Any] = {
    "connect_timeout": _CONNECT_WITHIN,
    "retries": {"total_max_attempts": 1},
    "s3": {"addressing_style": "path"},
    "signature_version": "s3v4",
}


def client(options: Mapping[str, Any]) -> Any:
    """Return boto3's client."""
    from botocore.config import Config

    return _session().client("s3", config=Config(**_BEHAVIOUR), **options)


def resource(options: Mapping[str, Any]) -> Any:
    """Return boto3's resource."""
    from botocore.config import Config

    return _session().resource("s3", config=Config(**_BEHAVIOUR), **options)


@cache
def _session() -> Any:
    """Return the session of this process: it reads boto3's description of S3 once."""
    import boto3

    return boto3.session.Session()


def async_client(options: Mapping[str, Any]) -> AbstractAsyncContextManager[Any]:
    """Return what opens aiobotocore's client.

    Raises:
        MissingExtraError: aiobotocore is not installed.
    """
    require_package("aiobotocore", "aiobotocore", needed_by="s3_async_client")
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session

    made: AbstractAsyncContextManager[Any] = get_session().create_client(
        "s3", config=AioConfig(**_BEHAVIOUR), **options
    )
    return made


def storage_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that s3fs and fsspec take."""
    return {
        "key": options["aws_access_key_id"],
        "secret": options["aws_secret_access_key"],
        "endpoint_url": options["endpoint_url"],
        "client_kwargs": {"region_name": options["region_name"]},
        "skip_instance_cache": True,
        "use_listings_cache": False,
    }
