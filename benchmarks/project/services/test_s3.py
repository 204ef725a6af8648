"""Tests of an S3 that holds what a session fixture has written."""

from __future__ import annotations

import os
from typing import Any

import boto3
import pytest

TESTS = range(int(os.environ["BENCHMARK_TESTS"]))


@pytest.fixture(scope="session", autouse=True)
def _records(s3_options: dict[str, Any], s3_bucket: str) -> None:
    client = boto3.client("s3", **s3_options)
    for number in range(int(os.environ["BENCHMARK_RECORDS"])):
        client.put_object(Bucket=s3_bucket, Key=f"record:{number}", Body=b"%d" % number)


@pytest.mark.parametrize("number", TESTS)
def test_untouched(s3_client: Any, s3_bucket: str, number: int) -> None:
    assert s3_client.head_object(Bucket=s3_bucket, Key="record:0")


@pytest.mark.parametrize("number", TESTS)
def test_small(s3_client: Any, s3_bucket: str, number: int) -> None:
    s3_client.put_object(Bucket=s3_bucket, Key="record:0", Body=b"changed")
