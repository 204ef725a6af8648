"""The images that serve S3: how each is told its keys and its port.

Keys are read from files: what stands in the environment or on the command line of a container, its
engine shows to everybody.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pytest_berth.api import Container

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_berth.api import Credentials

_PLACE = "/berth"


def _seaweedfs(image: str, account: Credentials) -> Container:
    keys = {"accessKey": account.user, "secretKey": account.password}
    rights = ["Admin", "Read", "Write", "List", "Tagging"]
    identity = {"name": "berth", "credentials": [keys], "actions": rights}
    config = json.dumps({"identities": [identity]}).encode()
    command = ["server", "-ip.bind=0.0.0.0", "-s3", f"-s3.config={_PLACE}/s3.json"]
    # Each bucket has volumes of its own: small ones, one at a time, and no limit to their number.
    command += ["-master.volumeSizeLimitMB=64", "-volume.max=1000000"]
    environment = {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}
    return Container(image, 8333, environment, command, {f"{_PLACE}/s3.json": config})


def _rustfs(image: str, account: Credentials) -> Container:
    names = {
        "RUSTFS_ACCESS_KEY_FILE": f"{_PLACE}/access-key",
        "RUSTFS_SECRET_KEY_FILE": f"{_PLACE}/secret-key",
        "RUSTFS_CONSOLE_ENABLE": "false",
        "RUSTFS_OBS_LOG_DIRECTORY": "",
    }
    return Container(image, 9000, names, ["/data"], _key_files(account))


def _minio(image: str, account: Credentials) -> Container:
    names = {
        "MINIO_ROOT_USER_FILE": f"{_PLACE}/access-key",
        "MINIO_ROOT_PASSWORD_FILE": f"{_PLACE}/secret-key",
        "MINIO_BROWSER": "off",
    }
    return Container(image, 9000, names, ["server", "/data"], _key_files(account))


def _key_files(account: Credentials) -> Mapping[str, bytes]:
    return {
        f"{_PLACE}/access-key": account.user.encode(),
        f"{_PLACE}/secret-key": account.password.encode(),
    }


# By what an image has in its name.
KINDS: Mapping[str, Callable[[str, Credentials], Container]] = {
    "seaweedfs": _seaweedfs,
    "rustfs": _rustfs,
    "minio": _minio,
}


def container(image: str, account: Credentials) -> Container:
    """Describe the container of an image whose name tells its kind."""
    name = image.lower()
    return next(make for kind, make in KINDS.items() if kind in name)(image, account)
