"""S3 passes what every service has to, on each source that serves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pytest_berth.services.s3.service import S3
from pytest_berth.testing import ServiceConformance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class TestS3(ServiceConformance):
    """By boto3, in the worker's bucket."""

    service = S3
    fixtures: ClassVar[Sequence[str]] = ("s3_client", "s3_bucket")
    write = "s3_client.put_object(Bucket=s3_bucket, Key='key', Body=b'value')"
    read = "s3_client.list_objects_v2(Bucket=s3_bucket).get('Contents')"
    wide_write = "__import__('notes').write(s3_options, s3_bucket)"
    server_url = "__import__('notes').url(s3_server)"
    files: ClassVar[Mapping[str, str]] = {
        "notes.py": """
            import boto3

            def write(options, bucket):
                boto3.client("s3", **options).put_object(Bucket=bucket, Key="key", Body=b"value")

            def url(running):
                server = running.server
                account = f"{server.credentials.user}:{server.credentials.password}"
                return f"s3+http://{account}@{server.host}:{server.port}"
        """
    }
    restores = True
