"""``pytest-berth shell`` where no client's program is there: a Python prompt with a client."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pytest_berth.api import Credentials, Server
from pytest_berth.cli import prompt

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

SERVER = Server("mail", "local", "127.0.0.1", 1025, Credentials("me", "secret", ""), version="1.2")
VALUES = {"url": "smtp://me:secret@127.0.0.1:1025", "mail_port": "1025"}


class Client:
    """A client that notes that it was closed."""

    is_closed = False

    def close(self) -> None:
        self.is_closed = True


def _ask(lines: str, answer: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    def opened(values: Mapping[str, str]) -> Mapping[str, object]:
        assert values == VALUES
        if isinstance(answer, Exception):
            raise answer
        return {"client": answer}

    service: Any = SimpleNamespace(backend=SimpleNamespace(prompt=opened))
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    return prompt.interact(service, SERVER, VALUES, ["mailsh"])


def test_it_has_client_and_values_and_prints_no_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = Client()

    status = _ask("print(client.is_closed, mail_port)\n", client, monkeypatch)

    told = capsys.readouterr()
    assert status == 0
    assert "False 1025" in told.out
    assert client.is_closed
    assert "mail 1.2 at 127.0.0.1:1025\nclient: " in told.err
    assert ".Client\nas text: url, mail_port" in told.err
    assert "berth: mailsh is not installed: this is a Python prompt\n" in told.err
    assert "secret" not in f"{told}"


def test_without_the_package_it_has_the_values(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _ask("print(mail_port)\n", ImportError("No module named 'mail'"), monkeypatch) == 0

    told = capsys.readouterr()
    assert "1025" in told.out
    assert "berth: without a client: ImportError: No module named 'mail'\n" in told.err
