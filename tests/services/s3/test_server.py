"""moto's server: whose process it is, and what it tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Project


def test_it_runs_as_pytest_does_and_shows_no_key(moto: Project) -> None:
    moto.write(
        test_it="""
        import os
        import psutil

        def test_it(s3_server):
            process = psutil.Process(s3_server.server.handle["pid"])
            account = s3_server.server.credentials
            assert process.uids().real == os.getuid()
            shown = " ".join(process.cmdline()) + str(process.environ())
            assert account.password not in shown
            assert account.token not in shown
            find = getattr(process, "net_connections", None) or process.connections  # psutil 5
            addresses = {each.laddr.ip for each in find() if not each.raddr}
            assert addresses == {"127.0.0.1"}
        """
    )
    moto.run().assert_outcomes(passed=1)


def test_connections_stay_open_and_each_answer_is_whole(moto: Project) -> None:
    moto.write(
        test_it="""
        import http.client, json

        def test_it(s3_server, s3_client, s3_bucket):
            s3_client.put_bucket_acl(Bucket=s3_bucket, ACL="public-read-write")
            connection = http.client.HTTPConnection(s3_server.host, s3_server.port, timeout=20)
            connection.auto_open = 0
            connection.connect()
            path = f"/{s3_bucket}/key"

            def ask(method, path, body=None, **headers):
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                return answer.status, answer.read()

            # None of these reads what the next one has sent, nor waits for more.
            assert ask("PUT", path, b"value", Expect="100-continue")[0] == 200
            assert ask("GET", path) == (200, b"value")
            assert ask("HEAD", path) == (200, b"")
            assert ask("GET", "/-berth/journal?0")[0] == 200
            assert ask("GET", f"/{s3_bucket}/none", b"not asked for")[0] == 404
            assert ask("GET", path, Range="bytes=1-2") == (206, b"al")
            assert ask("DELETE", path) == (204, b"")
            assert ask("PUT", path, iter([b"in ", b"pieces"]))[0] == 200
            assert connection.sock is None, "what follows the last piece is not read"
            connection.connect()
            assert ask("GET", path) == (200, b"in pieces")
            ask("GET", path, Connection="close")
            assert connection.sock is None
        """
    )
    moto.run().assert_outcomes(passed=1)
