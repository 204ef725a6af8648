"""How a server is launched: what the two kinds of distributions differ in, and what they share."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pytest_berth.api import Container, LocalProcess
from pytest_berth.errors import NoSourceError
from pytest_berth.sources.programs import file_fingerprints, is_closed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_berth.api import LocalRequest
    from pytest_berth.errors import BerthError

PORT = 9200
# Not the image's own directory: what is mounted there would be root's, which the server is not.
_DATA = "/berth-data"
FIT_FOR_TESTS = {
    "discovery.type": "single-node",
    # Else a disk that is nearly full turns every index read-only.
    "cluster.routing.allocation.disk.threshold_enabled": "false",
    "cluster.max_shards_per_node": "20000",
    # A failing test's report shows the log; each index that is made has a dozen lines at INFO.
    "logger.level": "WARN",
}
_HEAP = "-Xms512m -Xmx512m"
# A short life: no compiler that pays off late.
_JAVA_OPTIONS = f"{_HEAP} -XX:TieredStopAtLevel=1"
# Lines of a distribution's jvm.options that name its own directories, or another heap.
_NOT_TAKEN_OVER = ("-Xlog", "-XX:HeapDumpPath", "-XX:ErrorFile", "-Xms", "-Xmx", "-Xloggc")
_LOG_TO_CONSOLE = b"""\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""


class Distribution(NamedTuple):
    """What Elasticsearch and OpenSearch differ in.

    Attributes:
        name: Of the program, of the file of settings, of the jar that bears the version.
        label: The name as people write it.
        variables: What its environment variables begin with: ``ES``.
        security: The plugin that asks for passwords, and the setting that switches it off.
        settings: Further settings, of what no test needs.
        environment: What the image is told besides.
    """

    name: str
    label: str
    variables: str
    security: tuple[str, str]
    settings: Mapping[str, str]
    environment: Mapping[str, str]

    @property
    def home(self) -> str:
        """Where the image has it."""
        return f"/usr/share/{self.name}"


ELASTICSEARCH = Distribution(
    "elasticsearch",
    "Elasticsearch",
    "ES",
    ("x-pack-security", "xpack.security.enabled=false"),
    {
        "ingest.geoip.downloader.enabled": "false",
        "stack.templates.enabled": "false",
        "xpack.ml.enabled": "false",
        "xpack.watcher.enabled": "false",
    },
    {},
)
OPENSEARCH = Distribution(
    "opensearch",
    "OpenSearch",
    "OPENSEARCH",
    ("opensearch-security", "plugins.security.disabled=true"),
    {},
    {
        "DISABLE_INSTALL_DEMO_CONFIG": "true",
        "DISABLE_SECURITY_PLUGIN": "true",
        "DISABLE_PERFORMANCE_ANALYZER_AGENT_CLI": "true",
    },
)


def container(
    distribution: Distribution, image: str, values: Mapping[str, str], port: int
) -> Container:
    """Describe the container: both images take settings from variables of the same names."""
    environment = {
        # The port inside is the one outside, where an engine lets containers be reached directly.
        "http.port": str(port),
        "path.data": _DATA,
        f"{distribution.variables}_JAVA_OPTS": _JAVA_OPTIONS,
        **distribution.settings,
        **distribution.environment,
        **values,
    }
    if distribution is ELASTICSEARCH:
        name, _, value = distribution.security[1].partition("=")
        environment[name] = value
    return Container(image, port, environment, in_memory=[_DATA])


def local_obstacle(distribution: Distribution, wanted: str) -> BerthError | None:
    """Tell why no installed distribution can be run here; None when one can."""
    unfit = []
    for home in _homes(distribution):
        version = _version(distribution, home)
        if not version:
            continue
        if wanted and not _fits(version, wanted):
            unfit.append(f"{home} has version {version}, and {wanted} is asked for")
        elif is_closed(home):
            unfit.append(f"{home} is closed to the unprivileged user that the server runs as")
        else:
            return None
    return _missing(distribution, *unfit)


def _missing(distribution: Distribution, *unfit: str) -> BerthError:
    variable, name = f"{distribution.variables}_HOME", distribution.name
    nowhere = f"no bin/{name} in {variable}, on the PATH, or in {distribution.home}"
    return NoSourceError(
        f"{distribution.label} is not installed.",
        why="\n".join(unfit) or nowhere,
        remedy=f"unpack its archive and set {variable}, or use a container:"
        f" berth_{name}_source = container",
    )


def local_identity(distribution: Distribution, values: Mapping[str, str]) -> list[str]:
    """Return what makes one local process differ from another."""
    programs = (home / "bin" / distribution.name for home in _homes(distribution))
    settings = (f"{name}={value}" for name, value in values.items())
    return [*file_fingerprints(programs), *settings]


def local(
    distribution: Distribution, wanted: str, values: Mapping[str, str], request: LocalRequest
) -> LocalProcess:
    """Describe the process: the installed program, with settings and data of berth's own."""
    home, version = _installed(distribution, wanted)
    directory, variables = request.directory, distribution.variables
    plugin, switch = distribution.security
    has_security = distribution is ELASTICSEARCH or (home / "plugins" / plugin).is_dir()
    settings = {
        "network.host": "127.0.0.1",
        "http.port": str(request.port),
        "transport.port": str(request.further_port()),
        "path.data": f"{directory}/data",
        "path.logs": f"{directory}/logs",
        **distribution.settings,
        **(dict([switch.split("=")]) if has_security else {}),
        **values,
    }
    environment = {
        f"{variables}_HOME": str(home),
        f"{variables}_PATH_CONF": f"{directory}/config",
        f"{variables}_TMPDIR": f"{directory}/tmp",
        f"{variables}_JAVA_OPTS": _JAVA_OPTIONS,
    }
    given = [f"{name}={value}" for name, value in environment.items()]
    return LocalProcess(
        version=version,
        detail=str(home),
        prepare=[["mkdir", *(str(directory / each) for each in ("data", "logs", "tmp"))]],
        command=["env", *given, str(home / "bin" / distribution.name)],
        files={
            f"config/{distribution.name}.yml": _yaml(settings),
            "config/jvm.options": _jvm_options(home),
            "config/log4j2.properties": _LOG_TO_CONSOLE,
        },
        # The data is thrown away.
        stop_signal="SIGKILL",
    )


def _homes(distribution: Distribution) -> Iterator[Path]:
    """Yield the directories that may have the distribution."""
    if given := os.environ.get(f"{distribution.variables}_HOME"):
        yield Path(given)
    if found := shutil.which(distribution.name):
        yield Path(found).resolve().parents[1]
    yield Path(distribution.home)


def _installed(distribution: Distribution, wanted: str) -> tuple[Path, str]:
    for home in _homes(distribution):
        version = _version(distribution, home)
        if version and _fits(version, wanted):
            return home, version
    raise _missing(distribution)


def _version(distribution: Distribution, home: Path) -> str:
    """Return the version of the distribution in a directory; empty where there is none."""
    if not (home / "bin" / distribution.name).is_file():
        return ""
    jar = re.compile(rf"{distribution.name}-(\d[\w.-]*)\.jar")
    named = (jar.fullmatch(path.name) for path in sorted((home / "lib").glob("*.jar")))
    return next((found[1] for found in named if found), "")


def _fits(version: str, wanted: str) -> bool:
    return not wanted or version == wanted or version.startswith(f"{wanted}.")


def _yaml(settings: Mapping[str, str]) -> bytes:
    def quoted(value: str) -> str:
        return "'" + value.replace("'", "''") + "'"

    return "".join(f"{name}: {quoted(value)}\n" for name, value in settings.items()).encode()


def _jvm_options(home: Path) -> bytes:
    """Return the distribution's own options, without its directories, where nothing is written."""
    path = home / "config" / "jvm.options"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    # An option may begin with the versions of Java that it is for: "9-:-Xlog:gc*".
    kept = [each for each in lines if not re.sub(r"^[\d-]*:", "", each).startswith(_NOT_TAKEN_OVER)]
    return "\n".join([*kept, *_HEAP.split(), ""]).encode()
