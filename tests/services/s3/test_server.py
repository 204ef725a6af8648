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
            addresses = {each.laddr.ip for each in process.net_connections() if not each.raddr}
            assert addresses == {"127.0.0.1"}
        """
    )
    moto.run().assert_outcomes(passed=1)
