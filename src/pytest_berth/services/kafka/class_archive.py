"""The JVM's archive of loaded classes, which makes a broker start in half the time.

Java 25 and newer keep an AOT cache (JEP 514), older ones a dynamic AppCDS archive. Writing one
takes seconds, so it is never a test's server that does it: once, after the first run, a process
of its own starts a broker in the background, uses it a little, and keeps the archive.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pytest_berth.services.kafka import broker_properties

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_berth.sources.java import Java

_SMALL = (
    "-Xms64m",
    "-Xmx256m",
    *broker_properties.JAVA_OPTIONS,
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
)
_LOGGING = (
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
    "-Dorg.slf4j.simpleLogger.showThreadName=false",
    *(
        f"-Dorg.slf4j.simpleLogger.log.{name}=warn"
        for name in (
            "kafka.cluster.Partition",
            "kafka.log.LogManager",
            "kafka.server.ReplicaFetcherManager",
            "org.apache.kafka.common.config",
            "org.apache.kafka.storage.internals.log",
            "state.change.logger",
        )
    ),
    "-Dlog4j2.statusLoggerLevel=OFF",
)
# What Kafka and its native libraries do is warned of by newer Javas.
_UNWARNED = {23: "--sun-misc-unsafe-memory-access=allow", 24: "--enable-native-access=ALL-UNNAMED"}
_FAILED = ".failed"
_TRY_AGAIN_AFTER = 24 * 3600.0


@dataclass(frozen=True)
class Broker:
    """The program of a broker: Kafka's jars on a Java.

    Attributes:
        version: Kafka's version.
        java: The Java.
        jars: Kafka's jars and what they need.
        cache: Where archives are kept.
    """

    version: str
    java: Java
    jars: Sequence[Path]
    cache: Path

    @cached_property
    def archive(self) -> Path:
        """The archive, which need not exist; another Java or another jar has another name."""
        suffix = "aot" if self.java.has_aot_cache else "jsa"
        return self.cache / f"kafka-{self.version}-{self._fingerprint}.{suffix}"

    @property
    def failed(self) -> Path:
        """What is left by an archive that could not be made; it holds the reason."""
        return self.archive.with_name(self.archive.name + _FAILED)

    def command(self, output: Path | None = None) -> list[str]:
        """Return how Java is called, up to the main class.

        Args:
            output: Where to write an archive at the end, instead of reading the one there is.
        """
        return [str(self.java.program), *self._options, *self._archiving(output), *self._class_path]

    def training(self) -> list[str]:
        """Return the command that makes the archive; none when it is there or cannot be made."""
        if self.archive.exists() or self._has_just_failed():
            return []
        program = [sys.executable, "-m", "pytest_berth.services.kafka.build_class_archive"]
        return [*program, self.version, str(self.java.program), str(self.cache)]

    def _has_just_failed(self) -> bool:
        """Tell whether making the archive is not worth another attempt yet."""
        failed = self.failed
        return failed.exists() and time.time() - failed.stat().st_mtime < _TRY_AGAIN_AFTER

    def _archiving(self, output: Path | None) -> list[str]:
        made, used = (
            ("-XX:AOTCacheOutput", "-XX:AOTCache")
            if self.java.has_aot_cache
            else ("-XX:ArchiveClassesAtExit", "-XX:SharedArchiveFile")
        )
        if output:
            return [f"{made}={output}"]
        # One that does not fit is passed over by Java itself, silently.
        quiet = ["-Xlog:disable", "-Xlog:all=error:stderr"]
        return [f"{used}={self.archive}", *quiet] if self.archive.exists() else []

    @cached_property
    def _options(self) -> list[str]:
        unwarned = [option for since, option in _UNWARNED.items() if self.java.major >= since]
        return [*_SMALL, *_LOGGING, *unwarned]

    @cached_property
    def _class_path(self) -> list[str]:
        return ["-cp", os.pathsep.join(map(str, self.jars))]

    @cached_property
    def _fingerprint(self) -> str:
        """A digest of all that Java compares before it takes an archive."""
        jars = [(str(jar), jar.stat().st_size, jar.stat().st_mtime_ns) for jar in self.jars]
        program = self.java.program.resolve()
        java = (str(program), self.java.version, program.stat().st_mtime_ns)
        text = repr((jars, java, _SMALL))
        return hashlib.sha256(text.encode()).hexdigest()[:16]
