"""What a worker has of an S3 server: buckets whose names no other worker's begin with."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytest_berth.api import Namespace
from pytest_berth.errors import NotRestoredError
from pytest_berth.services.s3 import clients, urls
from pytest_berth.services.s3.buckets import Buckets
from pytest_berth.services.s3.connection import Connection, RefusedError
from pytest_berth.services.s3.options import BUCKETS, PREFIX_PLACEHOLDER, SCOPE
from pytest_berth.services.s3.worker_buckets import SettingsDifferError, WorkerBuckets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pytest

    from pytest_berth.api import Server, Worker

_REPORTED_WITHIN = 1.0


class S3Namespace(Namespace):
    """Buckets that tests of one process work in, one after the other.

    Args:
        server: The server.
        worker: Who works on it.

    Attributes:
        options: The arguments that boto3 takes.
        prefix: What names of the worker's buckets begin with.
        bucket: The bucket that is there before any test.
    """

    restores = True

    def __init__(self, server: Server, worker: Worker) -> None:
        self.url = urls.endpoint(server)
        self.options: Mapping[str, Any] = urls.client_options(server, worker.settings)
        self.prefix = urls.prefix(worker.run_id, worker.name)
        self.bucket = f"{self.prefix}bucket"
        self._server = server
        self._worker = worker
        self._is_alone = server.source != "external" and bool(
            worker.workers == 1 or server.slot or worker.dedicated
        )
        fixed = (name.replace(PREFIX_PLACEHOLDER, self.prefix) for name in worker.settings[BUCKETS])
        self._noted: set[str] = set()
        self._dirty: list[str] = []
        # What is there, if nobody has written since; None while somebody may.
        self._settled: Mapping[Any, Any] | None = None
        self._is_swept = False
        self._before: Mapping[Any, Any] = {}
        self._connection = self._connect()
        with self._told():
            names = dict.fromkeys((self.bucket, *fixed))
            self._own = WorkerBuckets(Buckets(self._connection), self._is_own, names)

    def close(self) -> None:
        """Close berth's connection."""
        self._connection.close()

    def make_bucket(self, name: str) -> str:
        """Create a bucket of the worker's own, as its tests do, and return its full name."""
        full = f"{self.prefix}{name}"
        client = clients.client(self.options)
        try:
            client.create_bucket(Bucket=full)
        finally:
            client.close()
        return full

    def capture(self) -> Mapping[Any, Any]:
        """Return all that the worker's buckets hold, what fixtures have written with its content.

        Where nothing has happened since the sweep before a test, that is known.
        """
        if self._is_swept and self._settled is not None:
            self._before = self._settled
        else:
            with self._told():
                self._before = self._own.capture()
        self._is_swept = False
        return self._before

    def restore(self, baseline: Mapping[Any, Any]) -> None:
        """Make the buckets hold what they held, and delete those that have come."""
        if not self.dedicated:
            self._put_back(baseline)

    def sweep(self) -> None:
        """Delete what threads and other processes have written since the last test's end.

        What they have set on buckets is only seen where the server tells it by itself.
        """
        if self._settled is not None and not self.dedicated:
            self._put_back(self._settled, settings=False)
            self._is_swept = True

    def expect_changes(self) -> None:
        """Take what is written from now on for fixtures'."""
        self._settled = None

    def reopen(self, server: Server) -> None:
        """Go on with the server that has taken the place of a lost one."""
        self._server = server
        self._settled, self._is_swept = None, False
        self._connection.close()
        self._connection = self._connect()
        with self._told():
            self._own.on_another(Buckets(self._connection))

    def take_dirty(self) -> Sequence[str]:
        """Return, once, the names of the buckets that were not as they had been."""
        found, self._dirty = self._dirty, []
        return [name.replace(self.prefix, "") for name in found]

    def changes(self, item: pytest.Item) -> Sequence[str]:
        """Tell which buckets and objects the test has added, changed and deleted."""
        from pytest_berth.services.s3 import describe_changes

        with self._hurried():
            return describe_changes.lines(self._before, self._own.look())

    def shell(self, item: pytest.Item) -> str:
        """Return the command that lists the worker's bucket."""
        words = ["aws", "--endpoint-url", self.url, "s3", "ls", f"s3://{self.bucket}"]
        return f"AWS_ACCESS_KEY_ID={self._server.credentials.user} {shlex.join(words)}"

    def _put_back(self, baseline: Mapping[Any, Any], *, settings: bool = True) -> None:
        with self._told():
            self._dirty += self._own.put_back(baseline, settings=settings)
        self._settled = baseline
        self._note_strangers()

    def _connect(self, **options: float) -> Connection:
        return Connection(self._server, str(self.options["region_name"]), **options)

    def _is_own(self, name: str) -> bool:
        return self._is_alone or name.startswith(self.prefix)

    @contextmanager
    def _hurried(self) -> Iterator[None]:
        """Let requests wait for next to nothing."""
        buckets = self._own.buckets
        usual = buckets.connection
        buckets.connection = self._connect(answers_within=_REPORTED_WITHIN)
        try:
            yield
        finally:
            buckets.connection.close()
            buckets.connection = usual

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell what a server has refused; one of ours is of no more use then."""
        try:
            yield
        except (RefusedError, SettingsDifferError) as error:
            raise NotRestoredError(
                "what the test has changed on the S3 server cannot be put back.",
                why=str(error),
                remedy="a test that locks objects, or its own way in, is best on a server of its"
                ' own: @pytest.mark.berth_s3(scope="test")',
            ) from error

    def _note_strangers(self) -> None:
        """Tell of buckets that no worker can be held to have made, on a server of ours."""
        if self._server.source == "external":
            return
        found = {name for name in self._own.strangers if not name.startswith("berth-")}
        for name in sorted(found - self._noted):
            self._worker.note(
                f"s3: the bucket {name!r} stays, and other workers see it: they share the server,"
                f" and its name does not tell whose it is; begin it with the worker's"
                f" {PREFIX_PLACEHOLDER}, or set {SCOPE.name} = worker"
            )
        self._noted |= found


@contextmanager
def opened(server: Server, worker: Worker) -> Iterator[S3Namespace]:
    """Open a worker's buckets."""
    namespace = S3Namespace(server, worker)
    try:
        yield namespace
    finally:
        namespace.close()
