"""The clients that tests are given, and what the report of a failing test tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project


def test_each_client_reads_what_another_one_has_written(moto: Project) -> None:
    pytest.importorskip("aiobotocore")
    pytest.importorskip("s3fs")
    moto.write(
        test_it="""
        import asyncio, urllib.request
        import boto3, botocore.exceptions, pytest, s3fs

        def test_clients(
            s3_client, s3_resource, s3_async_client, s3_storage_options, s3_bucket, s3_options
        ):
            async def write():
                async with s3_async_client as client:
                    await client.put_object(Bucket=s3_bucket, Key="async", Body=b"1")

            asyncio.run(write())
            s3_resource.Object(s3_bucket, "resource").put(Body=b"2")
            system = s3fs.S3FileSystem(**s3_storage_options)
            system.pipe(f"{s3_bucket}/fs", b"3")
            found = s3_client.list_objects_v2(Bucket=s3_bucket)["Contents"]
            assert [each["Key"] for each in found] == ["async", "fs", "resource"]

        def test_presigned(s3_client, s3_bucket):
            place = {"Bucket": s3_bucket, "Key": "signed"}
            address = s3_client.generate_presigned_url("put_object", place)
            text = {"Content-Type": "text/plain"}
            request = urllib.request.Request(address, b"hello", text, method="PUT")
            urllib.request.urlopen(request).close()
            address = s3_client.generate_presigned_url("get_object", place)
            with urllib.request.urlopen(address) as answer:
                assert answer.read() == b"hello"

        def test_another_key(s3_options, s3_bucket):
            client = boto3.client("s3", **{**s3_options, "aws_access_key_id": "another"})
            with pytest.raises(botocore.exceptions.ClientError, match="InvalidAccessKeyId"):
                client.list_objects_v2(Bucket=s3_bucket)
        """
    )
    moto.run().assert_outcomes(passed=3)


def test_a_failing_test_tells_what_it_has_changed_and_no_secret(moto: Project) -> None:
    moto.write(
        test_it="""
        import boto3, pytest

        @pytest.fixture(scope="module", autouse=True)
        def seeded(s3_options, s3_bucket):
            client = boto3.client("s3", **s3_options)
            client.put_object(Bucket=s3_bucket, Key="old", Body=b"1")
            client.put_object(Bucket=s3_bucket, Key="other", Body=b"1")

        def test_fails(s3_client, s3_bucket, s3_options, s3_make_bucket):
            s3_client.put_object(Bucket=s3_bucket, Key="new", Body=b"1")
            s3_client.put_object(Bucket=s3_bucket, Key="old", Body=b"2")
            s3_client.delete_object(Bucket=s3_bucket, Key="other")
            s3_make_bucket("made")
            print("secret:", s3_options["aws_secret_access_key"])
            assert False
        """
    )
    result = moto.run()
    result.assert_outcomes(failed=1)
    for line in (
        "*bucket berth-*-main-made: new*",
        "*berth-*-main-bucket/new: new*",
        "*berth-*-main-bucket/old: changed*",
        "*berth-*-main-bucket/other: deleted*",
        "*aws --endpoint-url http://127.0.0.1:* s3 ls s3://berth-*-main-bucket*",
        "secret: [*][*][*]",
    ):
        result.stdout.fnmatch_lines([line])
