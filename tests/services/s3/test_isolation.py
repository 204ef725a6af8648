"""What a test wrote to S3 is gone after it, and what fixtures wrote is put back."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Project

SEEDED = """
    import boto3
    import pytest

    @pytest.fixture(scope="session")
    def seeded(s3_options, s3_bucket):
        client = boto3.client("s3", **s3_options)
        client.put_object(
            Bucket=s3_bucket, Key="seed/ü +.txt", Body=b"seed", ContentType="text/x",
            Metadata={"who": "me"}, Tagging="a=b",
        )
        client.create_bucket(Bucket="history")
        client.put_bucket_versioning(
            Bucket="history", VersioningConfiguration={"Status": "Enabled"}
        )
        client.put_object(Bucket="history", Key="kept", Body=b"1")
        client.put_object(Bucket="history", Key="kept", Body=b"22")
        client.put_object(Bucket="history", Key="gone", Body=b"3")
        client.delete_object(Bucket="history", Key="gone")
        return client
"""


def test_what_fixtures_wrote_is_put_back_with_all_that_belongs_to_it(moto: Project) -> None:
    moto.conftest(SEEDED)
    moto.write(
        test_it="""
        import pytest
        from looking import look

        STATES = []

        def objects(client, bucket):
            answer = client.get_object(Bucket=bucket, Key="seed/ü +.txt")
            tags = client.get_object_tagging(Bucket=bucket, Key="seed/ü +.txt")["TagSet"]
            assert answer["Body"].read() == b"seed"
            assert (answer["ContentType"], answer["Metadata"]) == ("text/x", {"who": "me"})
            assert tags == [{"Key": "a", "Value": "b"}]
            assert client.get_object(Bucket="history", Key="kept")["Body"].read() == b"22"

        @pytest.fixture
        def as_before(seeded, s3_client, s3_bucket):
            objects(s3_client, s3_bucket)
            STATES.append(look(s3_client))
            assert STATES[-1] == STATES[0]

        def test_adds(as_before, s3_client, s3_bucket, s3_make_bucket):
            s3_client.put_object(Bucket=s3_bucket, Key="new", Body=b"")
            s3_client.create_multipart_upload(Bucket=s3_bucket, Key="parts")
            s3_client.put_object(Bucket="history", Key="kept", Body=b"333")
            s3_client.delete_object(Bucket="history", Key="kept")
            name = s3_make_bucket("more")
            s3_client.put_bucket_versioning(
                Bucket=name, VersioningConfiguration={"Status": "Enabled"}
            )
            s3_client.put_object(Bucket=name, Key="a", Body=b"1")
            s3_client.delete_object(Bucket=name, Key="a")

        def test_overwrites(as_before, s3_client, s3_bucket):
            s3_client.put_object(Bucket=s3_bucket, Key="seed/ü +.txt", Body=b"other")

        def test_changes_what_no_listing_tells(as_before, s3_client, s3_bucket):
            s3_client.put_object_tagging(
                Bucket=s3_bucket, Key="seed/ü +.txt",
                Tagging={"TagSet": [{"Key": "c", "Value": "d"}]},
            )

        def test_deletes(as_before, s3_client, s3_bucket):
            s3_client.delete_objects(
                Bucket=s3_bucket, Delete={"Objects": [{"Key": "seed/ü +.txt"}]}
            )

        def test_deletes_versions(as_before, s3_client):
            for version in s3_client.list_object_versions(Bucket="history")["Versions"]:
                s3_client.delete_object(
                    Bucket="history", Key=version["Key"], VersionId=version["VersionId"]
                )

        def test_deletes_the_bucket(as_before, s3_client, s3_bucket):
            s3_client.delete_object(Bucket=s3_bucket, Key="seed/ü +.txt")
            s3_client.delete_bucket(Bucket=s3_bucket)

        def test_suspends_versions(as_before, s3_client):
            s3_client.put_bucket_versioning(
                Bucket="history", VersioningConfiguration={"Status": "Suspended"}
            )
            s3_client.put_object(Bucket="history", Key="kept", Body=b"null")

        def test_last(as_before):
            pass
        """
    )
    moto.run("-p", "no:randomly").assert_outcomes(passed=8)


def test_what_is_set_on_a_bucket_is_as_it_was(moto: Project) -> None:
    moto.write(
        test_it="""
        import json
        import pytest
        from looking import look

        STATES = []
        ALLOW = {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteBucket"}
        CALLS = {
            "policy": lambda client, bucket: client.put_bucket_policy(
                Bucket=bucket,
                Policy=json.dumps({
                    "Version": "2012-10-17",
                    "Statement": [{**ALLOW, "Resource": f"arn:aws:s3:::{bucket}"}],
                }),
            ),
            "cors": lambda client, bucket: client.put_bucket_cors(
                Bucket=bucket,
                CORSConfiguration={
                    "CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]
                },
            ),
            "lifecycle": lambda client, bucket: client.put_bucket_lifecycle_configuration(
                Bucket=bucket,
                LifecycleConfiguration={"Rules": [{
                    "ID": "a", "Status": "Enabled", "Filter": {"Prefix": "x/"},
                    "Expiration": {"Days": 1},
                }]},
            ),
            "tagging": lambda client, bucket: client.put_bucket_tagging(
                Bucket=bucket, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}
            ),
            "versioning": lambda client, bucket: client.put_bucket_versioning(
                Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
            ),
            "acl": lambda client, bucket: client.put_bucket_acl(Bucket=bucket, ACL="public-read"),
        }

        def settings(client, bucket):
            found = {}
            for name in ("policy", "cors", "lifecycle_configuration", "tagging", "versioning",
                         "acl"):
                try:
                    answer = getattr(client, f"get_bucket_{name}")(Bucket=bucket)
                    del answer["ResponseMetadata"]
                except client.exceptions.ClientError as error:
                    answer = error.response["Error"]["Code"]
                found[name] = answer
            return found

        @pytest.mark.parametrize("name", [*CALLS, ""])
        def test_set(s3_client, s3_bucket, name):
            STATES.append((look(s3_client), settings(s3_client, s3_bucket)))
            assert STATES[-1] == STATES[0]
            if name:
                CALLS[name](s3_client, s3_bucket)
                assert settings(s3_client, s3_bucket) != STATES[0][1]
        """
    )
    moto.run("-p", "no:randomly").assert_outcomes(passed=7)


def test_what_other_processes_and_threads_write_late_is_gone(moto: Project) -> None:
    moto.ini(
        "berth_export =",
        "    AWS_ENDPOINT_URL = {s3_url}",
        "    AWS_ACCESS_KEY_ID = {s3_access_key}",
        "    AWS_SECRET_ACCESS_KEY = {s3_secret_key}",
        "    AWS_DEFAULT_REGION = {s3_region}",
        "    BUCKET = {s3_prefix}uploads",
        "berth_s3_buckets = {s3_prefix}uploads",
        "berth_autouse = s3",
    )
    moto.write(
        test_it="""
        import os, subprocess, sys
        import boto3
        import pytest

        BUCKET = os.environ["BUCKET"]
        WRITE = "import boto3, os; boto3.client('s3').put_object("
        WRITE += "Bucket=os.environ['BUCKET'], Key='key', Body=b'')"

        def keys():
            return boto3.client("s3").list_objects_v2(Bucket=BUCKET).get("Contents", [])

        def write_elsewhere():
            subprocess.run([sys.executable, "-c", WRITE], check=True)

        @pytest.fixture(scope="module")
        def ends_late():
            yield

        @pytest.mark.parametrize("number", range(2))
        def test_other_process(number):
            assert not keys()
            write_elsewhere()
            assert keys()

        def test_between(request, pytestconfig):
            assert not keys()
            pytestconfig.pluginmanager.register(Late())

        def test_after():
            assert not keys()

        class Late:
            def pytest_runtest_logfinish(self, nodeid):
                if "between" in nodeid:
                    write_elsewhere()
                    assert keys()
        """
    )
    moto.run("-p", "no:randomly").assert_outcomes(passed=4)


def test_an_object_under_retention_costs_the_server_and_no_test(moto: Project) -> None:
    moto.write(
        test_it="""
        import time
        import pytest

        def lock(client, bucket, mode):
            client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
            client.put_object(Bucket=bucket, Key="key", Body=b"")
            client.put_object_retention(
                Bucket=bucket, Key="key",
                Retention={"Mode": mode, "RetainUntilDate": time.time() + 3600},
            )

        def test_governance(s3_client):
            lock(s3_client, "locked", "GOVERNANCE")

        @pytest.mark.berth_s3(scope="test")
        def test_own(s3_client, s3_bucket, s3_resource):
            lock(s3_client, s3_bucket + "2", "COMPLIANCE")

        def test_compliance(s3_client):
            assert len(s3_client.list_buckets()["Buckets"]) == 1
            lock(s3_client, "locked", "COMPLIANCE")

        def test_after(s3_client):
            assert len(s3_client.list_buckets()["Buckets"]) == 1
        """
    )
    result = moto.run("-p", "no:randomly")
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(
        ["*what the test has changed on the S3 server cannot be put back.*"]
    )
