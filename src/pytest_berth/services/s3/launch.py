"""How an S3 server is launched: a container, or moto as a process of this machine."""

from __future__ import annotations

import json
import secrets
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_berth.api import Credentials, LocalProcess
from pytest_berth.errors import BerthError, NoSourceError
from pytest_berth.services.s3 import options as ini

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_berth.api import LocalRequest
    from pytest_berth.config.options import Settings

# Of its journal; no bucket's name begins so.
JOURNAL = "/-berth/journal"
# A file, not a module that berth imports: it belongs to the process that serves.
_PROGRAM = Path(__file__).with_name("moto_process.py")
_PACKAGES = ("moto", "flask", "flask_cors")


def credentials(settings: Settings) -> Credentials:
    """Return new keys, and a token."""
    key = f"BERTH{secrets.token_hex(8).upper()}"
    token = f"berth-{secrets.token_hex(16)}"
    return Credentials(key, secrets.token_hex(20), "", token=token, given=bool(settings[ini.PORT]))


def local_obstacle() -> BerthError | None:
    """Tell which package of moto's server is not installed."""
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if not missing:
        return None
    return NoSourceError(
        "moto's server is not installed.",
        why=f"there is no package {missing[0]!r} in {sys.prefix}",
        remedy='pip install "pytest-berth[s3-local]", or install a container engine',
    )


def local(request: LocalRequest) -> LocalProcess:
    """Describe the process."""
    account = request.credentials
    told = {
        "port": request.port,
        "place": JOURNAL,
        "token": account.token,
        "access_key": account.user,
    }
    found = _version()
    return LocalProcess(
        version=found,
        detail=f"moto {found}",
        command=[sys.executable, str(_PROGRAM), "moto.json"],
        files={"moto.json": json.dumps(told).encode()},
        own_account=True,
    )


def local_identity() -> Sequence[str]:
    """Return what makes one process differ from another."""
    return [sys.executable, _version()]


def _version() -> str:
    try:
        return version("moto")
    except PackageNotFoundError:
        return "?"
