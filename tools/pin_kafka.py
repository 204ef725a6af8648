"""Write the pins of Kafka's jars: the broker's, with all that it needs at run time.

    python tools/pin_kafka.py 4.1.0

Maven resolves the list; every jar is downloaded from Maven Central and hashed here, and the
repository's own checksum must agree.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

CENTRAL = "https://repo1.maven.org/maven2"
PINS = Path(__file__).parents[1] / "src/pytest_berth/services/kafka/pins.json"
TIMEOUT = 60.0
SLF4J = "1.7.36"
# The broker logs through slf4j-simple; log4j's core is the other binding, and starts slower.
LEFT_OUT = {"org.apache.logging.log4j:log4j-core"}
POM = """
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>pins</groupId><artifactId>pins</artifactId><version>1</version><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
<version>{kafka}</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId>
<version>{slf4j}</version></dependency></dependencies></project>
"""


def main() -> None:
    """Pin the version that is named on the command line, beside those that are pinned."""
    (version,) = sys.argv[1:]
    known = json.loads(PINS.read_text(encoding="utf-8")) if PINS.exists() else {}
    known[version] = {coordinates: pin(coordinates) for coordinates in resolve(version)}
    text = json.dumps({key: known[key] for key in sorted(known)}, indent=1)
    PINS.write_text(text + "\n", encoding="utf-8")


def resolve(version: str) -> list[str]:
    """Let Maven name all jars that the broker needs at run time, as ``group:name:version``."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "pom.xml").write_text(POM.format(kafka=version, slf4j=SLF4J))
        goal = ("dependency:list", "-DincludeScope=runtime", "-DoutputFile=list.txt")
        subprocess.run(["mvn", "-q", "-B", *goal], cwd=directory, check=True)
        lines = Path(directory, "list.txt").read_text(encoding="utf-8")
    found = re.findall(r"^\s+([\w.-]+:[\w.-]+):jar:([\w.-]+):", lines, re.MULTILINE)
    return sorted(f"{name}:{number}" for name, number in found if name not in LEFT_OUT)


def pin(coordinates: str) -> dict[str, str | int]:
    """Download a jar and hash it; it must agree with the repository's own checksum."""
    group, name, version = coordinates.split(":")
    url = f"{CENTRAL}/{group.replace('.', '/')}/{name}/{version}/{name}-{version}.jar"
    content = _get(url)
    sha1 = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    if _get(f"{url}.sha1").decode().split()[0] != sha1:
        raise SystemExit(f"{url}: the repository's sha1 is another than that of its jar")
    print(coordinates, len(content), flush=True)
    return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
        return bytes(response.read())


if __name__ == "__main__":
    main()
