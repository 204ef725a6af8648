"""Uploads and presigned downloads; a bucket whose objects have versions."""

import urllib.error
import urllib.request

import boto3
import pytest

REPORT = {"Key": "2026/report.pdf", "Body": b"%PDF-1.7", "ContentType": "application/pdf"}


@pytest.fixture(scope="module")
def archive(s3_options, s3_bucket):
    """Put what several tests read into the bucket, once: each of them finds it as it was."""
    client = boto3.client("s3", **s3_options)
    client.put_object(Bucket=s3_bucket, **REPORT)
    client.close()
    return s3_bucket


def download(url):
    with urllib.request.urlopen(url) as answer:
        return answer.headers["Content-Type"], answer.read()


def test_a_presigned_url_downloads_without_keys(s3_client, archive):
    place = {"Bucket": archive, "Key": REPORT["Key"]}
    url = s3_client.generate_presigned_url("get_object", place, ExpiresIn=60)
    assert download(url) == ("application/pdf", b"%PDF-1.7")


def test_what_is_deleted_cannot_be_downloaded(s3_client, archive):
    place = {"Bucket": archive, "Key": REPORT["Key"]}
    url = s3_client.generate_presigned_url("get_object", place)
    s3_client.delete_object(**place)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        download(url)


def test_it_is_there_again(s3_client, archive):
    found = s3_client.list_objects_v2(Bucket=archive)["Contents"]
    assert [each["Key"] for each in found] == [REPORT["Key"]]


def test_a_presigned_url_takes_an_upload(s3_client, s3_bucket):
    place = {"Bucket": s3_bucket, "Key": "upload.txt", "ContentType": "text/plain"}
    url = s3_client.generate_presigned_url("put_object", place)
    headers = {"Content-Type": "text/plain"}
    request = urllib.request.Request(url, b"hello", headers, method="PUT")
    urllib.request.urlopen(request).close()
    answer = s3_client.get_object(Bucket=s3_bucket, Key="upload.txt")
    assert answer["Body"].read() == b"hello"


def test_an_earlier_version_can_be_had_again(s3_client, s3_make_bucket):
    bucket = s3_make_bucket("contracts")
    s3_client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    draft = s3_client.put_object(Bucket=bucket, Key="contract", Body=b"draft")["VersionId"]
    s3_client.put_object(Bucket=bucket, Key="contract", Body=b"signed")
    s3_client.delete_object(Bucket=bucket, Key="contract")

    told = s3_client.list_object_versions(Bucket=bucket)
    assert len(told["Versions"]) == 2
    assert [each["IsLatest"] for each in told["DeleteMarkers"]] == [True]
    source = {"Bucket": bucket, "Key": "contract", "VersionId": draft}
    s3_client.copy_object(Bucket=bucket, Key="contract", CopySource=source)
    assert s3_client.get_object(Bucket=bucket, Key="contract")["Body"].read() == b"draft"
