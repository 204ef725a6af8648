"""Downloading a file of known size and checksum from a Maven repository.

Proxies are those that urllib finds (``HTTPS_PROXY``, ``NO_PROXY``, the system's settings), and
certificates those that the machine trusts (``SSL_CERT_FILE``).
"""

from __future__ import annotations

import hashlib
import http.client
import ssl
import urllib.error
import urllib.request
from contextlib import closing
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from pytest_berth.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ATTEMPTS = 3
CHUNK = 1 << 16
TIMEOUT = 30.0
ELSEWHERE = (
    "berth_artifact_mirror = https://... (a Maven repository that this machine may reach),\n"
    "or HTTPS_PROXY=http://... in the environment, or berth_source = container"
)


@dataclass(frozen=True)
class Mirror:
    """A Maven repository.

    Attributes:
        url: Its address, ``https:``, ``http:`` or ``file:``, without user and password.
        user: Sent only to the host of *url*, not to where it redirects.
        password: As *user*; never printed.
    """

    url: str
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str) -> Mirror:
        """Take ``https://user:password@host/path`` apart."""
        try:
            parts = urlsplit(text.strip())
            login, _, host = parts.netloc.rpartition("@")
            valid = parts.scheme == "file" or (parts.scheme in {"https", "http"} and parts.hostname)
        except ValueError:
            valid = False
        if not valid:
            raise _not_an_address(text)
        user, _, password = login.partition(":")
        url = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        return cls(url, unquote(user), unquote(password))

    def opener(self) -> urllib.request.OpenerDirector:
        """Return what opens addresses of this mirror."""
        passwords = urllib.request.HTTPPasswordMgrWithPriorAuth()
        if self.user:
            root = urlunsplit((*urlsplit(self.url)[:2], "/", "", ""))
            passwords.add_password(None, root, self.user, self.password, is_authenticated=True)
        return urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(passwords))


@dataclass(frozen=True)
class Download:
    """What is to be downloaded.

    Attributes:
        path: Path below the mirror's address.
        sha256: Expected checksum, in hexadecimal digits.
        size: Expected size in bytes.
    """

    path: str
    sha256: str
    size: int

    def save(self, to: Path, mirror: Mirror, report: Callable[[int], None]) -> None:
        """Write it to the file *to*, going on where the connection dropped.

        Args:
            to: The file, replaced if it is there.
            mirror: Where it comes from.
            report: Called with the number of bytes that are there.

        Raises:
            ArtifactError: It could not be had, or is not what was expected.
            OSError: *to* could not be written.
        """
        url, opener = f"{mirror.url}/{self.path}", mirror.opener()
        with to.open("wb") as file:
            sink = _Sink(file, report)
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    self._receive(_open(opener, url, sink.size), sink)
                    break
                except ConnectionError as error:
                    if attempt == ATTEMPTS:
                        raise self._dropped(url, sink, error) from error
        self._check(url, sink)

    def _receive(self, response: Any, sink: _Sink) -> None:
        with closing(response):
            if response.status != http.client.PARTIAL_CONTENT:
                sink.restart()
            # One byte too many tells that it is another file, without taking all of that.
            while chunk := _read(response, min(CHUNK, self.size + 1 - sink.size)):
                sink.write(chunk)
            if sink.size < self.size and getattr(response, "length", None):
                raise ConnectionResetError("the connection was closed")

    def _check(self, url: str, sink: _Sink) -> None:
        if sink.digest.hexdigest() == self.sha256:
            return
        raise ArtifactError(
            f"{url} is not the file that is pinned.",
            why=f"SHA-256 {self.sha256}, {self.size} bytes were expected;\n"
            f"SHA-256 {sink.digest.hexdigest()}, {_size(sink.size, self.size)} came"
            " (a proxy's login page, or a changed file)",
            remedy=f"look at the address in a browser; if it is not yours to mend:\n{ELSEWHERE}",
        )

    def _dropped(self, url: str, sink: _Sink, error: Exception) -> ArtifactError:
        return ArtifactError(
            f"the download of {url} broke off {ATTEMPTS} times.",
            why=f"{sink.size} of {self.size} bytes came; {_reason(error)}",
            remedy=f"run it again, or set another way:\n{ELSEWHERE}",
        )


class _Sink:
    """A file that is written, and its checksum so far."""

    def __init__(self, file: IO[bytes], report: Callable[[int], None]) -> None:
        self.file = file
        self.report = report
        self.restart()

    def restart(self) -> None:
        self.digest = hashlib.sha256()
        self.size = 0
        self.file.seek(0)
        self.file.truncate()

    def write(self, chunk: bytes) -> None:
        self.file.write(chunk)
        self.digest.update(chunk)
        self.size += len(chunk)
        self.report(self.size)


def _open(opener: urllib.request.OpenerDirector, url: str, start: int) -> Any:
    headers = {"Range": f"bytes={start}-"} if start else {}
    try:
        return opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        raise _refused(url, error.code, error.reason) from None
    except urllib.error.URLError as error:
        raise _unreachable(url, error.reason) from error
    except (ConnectionError, TimeoutError) as error:
        raise ConnectionAbortedError(_reason(error)) from error
    except OSError as error:
        raise _unreachable(url, error) from error
    except (ValueError, http.client.HTTPException) as error:
        # Its text could hold the password of a proxy.
        raise _unreachable(url, type(error).__name__) from error


def _read(response: Any, amount: int) -> bytes:
    try:
        return bytes(response.read(amount))
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionAbortedError(_reason(error)) from error


def _refused(url: str, code: int, reason: str) -> ArtifactError:
    remedies = {
        401: "berth_artifact_mirror = https://user:password@... (in BERTH_ARTIFACT_MIRROR, say)",
        404: f"give a mirror that holds what Maven Central does:\n{ELSEWHERE}",
        407: "HTTPS_PROXY=http://user:password@... in the environment",
    }
    remedies[403] = f"{remedies[401]},\nor another way: {ELSEWHERE}"
    return ArtifactError(
        f"{url} could not be downloaded.",
        why=f"the answer was {code} {reason}",
        remedy=remedies.get(code, f"try again later, or set another way:\n{ELSEWHERE}"),
    )


def _unreachable(url: str, reason: object) -> ArtifactError:
    remedy = ELSEWHERE
    if isinstance(reason, ssl.SSLError):
        remedy = f"SSL_CERT_FILE=<the authorities that this network's proxy uses>, or\n{ELSEWHERE}"
    return ArtifactError(f"{url} could not be reached.", why=_reason(reason), remedy=remedy)


def _not_an_address(text: str) -> ArtifactError:
    shown = f"***@{text.rpartition('@')[2]}" if "@" in text else text
    return ArtifactError(
        "berth_artifact_mirror is not an address.",
        why=f"it is {shown!r}",
        remedy="berth_artifact_mirror = https://host/path (http: and file: do as well)",
    )


def _reason(error: object) -> str:
    return f"{type(error).__name__}: {error}" if isinstance(error, Exception) else str(error)


def _size(got: int, expected: int) -> str:
    return f"more than {expected} bytes" if got > expected else f"{got} bytes"
