"""Whose bucket is whose: fixed names, several workers, servers of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project

NOTHING = """
    def test_it(s3_bucket):
        pass
"""


def test_buckets_of_fixed_names_are_there_before_each_test_and_empty(moto: Project) -> None:
    moto.ini("berth_s3_buckets = uploads", "    {s3_prefix}logs")
    moto.write(
        test_it="""
        import pytest

        @pytest.mark.parametrize("number", range(3))
        def test_it(s3_client, s3_bucket, number):
            logs = s3_bucket.replace("-bucket", "-logs")
            names = {each["Name"] for each in s3_client.list_buckets()["Buckets"]}
            assert names == {"uploads", logs, s3_bucket}
            assert "Contents" not in s3_client.list_objects_v2(Bucket="uploads")
            s3_client.put_object(Bucket="uploads", Key="key", Body=b"")
            if number == 1:
                s3_client.delete_bucket(Bucket=logs)
        """
    )
    moto.run().assert_outcomes(passed=3)


def test_what_cannot_be_each_workers_own_is_refused(moto: Project) -> None:
    pytest.importorskip("xdist")
    moto.write(test_it=NOTHING)
    moto.ini("berth_s3_buckets = uploads")
    result = moto.run("-p", "xdist", "-n", "2")
    assert result.ret != 0
    lines = "\n".join(result.outlines + result.errlines)
    assert "several workers cannot work in one bucket 'uploads'." in lines
    moto.ini("berth_s3_buckets = uploads", "berth_s3_url = s3+http://key:secret@127.0.0.1:1")
    result = moto.run(BERTH_S3_SOURCE="external")
    result.stderr.fnmatch_lines(
        ["*the bucket 'uploads' cannot be the tests' on a server that is given by URL.*"]
    )


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("berth_s3_buckets = Up", "use 3 to 63 small letters"),
        ("berth_s3_image = postgres:17", "use an image with one of seaweedfs, rustfs, minio"),
        ("berth_s3_url = http://host", "use a URL such as s3+http://key:secret@host:9000"),
        ("berth_s3_url = s3+http://key:secret@host/bucket", "without path"),
    ],
)
def test_slips_are_told(moto: Project, line: str, why: str) -> None:
    moto.ini(line)
    moto.write(test_it=NOTHING)
    result = moto.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{why}*"])


def test_a_server_of_others_keeps_all_that_is_not_the_runs_also_when_it_is_killed(
    moto: Project,
) -> None:
    moto.ini("berth_s3_buckets = uploads")
    (moto.root / "inner").mkdir()
    (moto.root / "inner/test_inner.py").write_text(
        """
import os, pathlib, signal

def test_inner(s3_client, s3_make_bucket, s3_bucket):
    s3_client.put_object(Bucket=s3_bucket, Key="key", Body=b"")
    s3_client.put_object(Bucket=s3_make_bucket("more"), Key="key", Body=b"")
    names = {each["Name"] for each in s3_client.list_buckets()["Buckets"]}
    assert len(names) == 4
    s3_client.put_object(Bucket="uploads", Key="new", Body=b"")
    if os.environ.get("KILLED"):
        os.kill(os.getpid(), signal.SIGKILL)
"""
    )
    moto.write(
        test_outer="""
        import os, pathlib, subprocess, sys
        from pytest_berth import wait_for

        def run(server, **variables):
            account = f"{server.credentials.user}:{server.credentials.password}"
            url = f"s3+http://{account}@{server.host}:{server.port}"
            pathlib.Path("inner/pytest.ini").write_text("[pytest]")
            environment = {
                **os.environ, "BERTH_S3_URL": url, "BERTH_S3_SOURCE": "external", **variables
            }
            command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
            return subprocess.run(command, cwd="inner", env=environment).returncode

        def names(client):
            return {each["Name"] for each in client.list_buckets()["Buckets"]}

        def test_outer(s3_client, s3_bucket, s3_server):
            s3_client.put_object(Bucket="uploads", Key="kept", Body=b"1")
            before = names(s3_client)
            assert run(s3_server.server) == 0
            assert names(s3_client) == before
            assert run(s3_server.server, KILLED="yes") < 0
            wait_for(lambda: names(s3_client) == before, 60)
            found = s3_client.list_objects_v2(Bucket="uploads")["Contents"]
            assert [each["Key"] for each in found] == ["kept", "new"]
        """
    )
    moto.run("test_outer.py").assert_outcomes(passed=1)


def test_a_bucket_that_may_be_any_workers_is_told(moto: Project) -> None:
    pytest.importorskip("xdist")
    moto.write(
        test_it="""
        import pytest

        @pytest.mark.parametrize("number", range(2))
        def test_it(s3_client, number, worker_id):
            s3_client.create_bucket(Bucket=f"of-{worker_id}")
        """
    )
    result = moto.run("-p", "xdist", "-n", "2")
    result.assert_outcomes(passed=2)
    lines = "\n".join(result.outlines + result.errlines)
    assert "the bucket 'of-gw0' stays, and other workers see it" in lines
