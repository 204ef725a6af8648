"""What is known of the state of failed tests that stays on servers: ``--berth-keep-failed``.

Each is a file beside the records of kept servers. It names the server's record, which has the
account, or tells the address of an external server, whose password is not written down. It goes
when its time is over, or its server: so what is listed is there.
"""

from __future__ import annotations

import dataclasses
import json
import os
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_berth.debug_log import ignoring
from pytest_berth.run import registry
from pytest_berth.run.reuse import records
from pytest_berth.waiting import wall_clock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pytest_berth.api import Server

DEFAULT_SECONDS = 3600.0
MOST = 20
LOOK_AFTERWARDS = "afterwards: pytest --berth-keep-failed, then pytest-berth shell --failed"


@dataclass(frozen=True)
class KeptState:
    """One database, number or topic with what a failed test has left there.

    Attributes:
        nodeid: The test.
        project: Directory of its project.
        run_id: The run.
        server: The server; the record that it names has its present account.
        name: What it is called on the server.
        until: Until when it stays, in seconds since 1970.
        note: What is not in it as the test has left it.
        file: Name of its file.
        since: Since when it stays, in seconds since 1970.
    """

    nodeid: str
    project: str
    run_id: str
    server: Server
    name: str
    until: float
    note: str = ""
    file: str = ""
    since: float = 0.0

    @property
    def reached(self) -> Server:
        """The server, with the password that it has now; none of an external one."""
        record = records.Records(records.place()).read(self.server.reuse_record)
        return record.server if record else self.server


def note(state: KeptState) -> None:
    """Write down what stays, for this user's later processes."""
    directory = records.of_user().directory
    path = registry.ReuseRegistry(directory).kept_state(uuid.uuid4().hex)
    _write(path, dataclasses.replace(state, file=path.name))


def all_of_user() -> list[KeptState]:
    """Return what stays, oldest first; what is over, or gone with its server, is forgotten."""
    return sorted(filter(_stays, _all()), key=lambda each: (each.since, each.until, each.name))


def forget(state: KeptState) -> None:
    """Forget what is gone."""
    (records.place() / state.file).unlink(missing_ok=True)


def move(record: str, to: str) -> None:
    """Note that the record of a server has got another name."""
    for state in _all():
        if state.server.reuse_record == record:
            moved = dataclasses.replace(state.server, reuse_record=to)
            _write(records.place() / state.file, dataclasses.replace(state, server=moved))


def without_password(server: Server) -> Server:
    """Return a server as it may be written down for others than its run."""
    account = dataclasses.replace(server.credentials, password="", token="")
    parameters = {name: text for name, text in server.parameters.items() if "pass" not in name}
    return dataclasses.replace(server, credentials=account, parameters=parameters, handle={})


def parse(fields: Mapping[str, Any]) -> KeptState:
    """Return the state that a mapping describes, as `as_dict` has made it."""
    known = {each.name for each in dataclasses.fields(KeptState)}
    given = {name: value for name, value in fields.items() if name in known}
    return KeptState(**{**given, "server": registry.load(given["server"])})


def _all() -> Iterator[KeptState]:
    directory = records.place()
    if not records.is_private(directory):
        return
    for path in registry.ReuseRegistry(directory).kept_states():
        with ignoring(FileNotFoundError, ValueError, KeyError, TypeError, why=f"{path} is gone"):
            yield parse(json.loads(path.read_text()))


def _stays(state: KeptState) -> bool:
    record = state.server.reuse_record
    has_server = not record or records.Records(records.place()).read(record) is not None
    if has_server and wall_clock() < state.until:
        return True
    forget(state)
    return False


def _write(path: Path, state: KeptState) -> None:
    partial = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        json.dump(dataclasses.asdict(state), stream)
    partial.replace(path)
