"""What can be set: the options, what they take, and the values of a run with their origins."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast

from pytest_berth.errors import ServiceError, SettingsError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path


T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
_SIZES = ((3600, "h"), (60, "m"), (1, "s"))
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = (
    r"(?P<number>\d+(?:\.\d+)?)\s*"
    r"(?:(?P<unit>[smhdw])|(?P<word>sec(?:ond)?|min(?:ute)?|h(?:ou)?r|day|week)s?)|0+"
)
_PASSWORD = (
    r"(?P<before>://[^:/?#@\s]*:).*(?=@)|(?P<scheme>://)[^:/?#@\s]+(?=@)"
    r"|(?P<name>[?&]password=)[^&\s]*"
)


class Option(Generic[T_co]):
    """An ini option, and at the same time the typed key of its value in `Settings`.

    Attributes:
        name: Name in the ini file; in upper case, the environment variable's.
        parse: Turns text, or for a linelist the lines, into the value; ValueError when wrong.
        default: The value where nothing is set.
        help: One line for ``pytest --help``.
        type: pytest's ini type: ``string``, ``linelist`` or ``bool``.
        flag: Command-line flag that goes before everything else, if there is one.
        bare: What the flag means where it is given without a value; empty where it takes one.
    """

    def __init__(
        self,
        name: str,
        parse: Callable[[Any], T_co],
        default: T_co,
        help: str,  # noqa: A002
        type: str = "string",  # noqa: A002
        flag: str | None = None,
        bare: str = "",
    ) -> None:
        self.name = name
        self.parse = parse
        self.default = default
        self.help = help
        self.type = type
        self.flag = flag
        self.bare = bare

    @property
    def variable(self) -> str:
        """Name of the environment variable."""
        return self.name.upper()

    @property
    def dest(self) -> str:
        """Where argparse keeps the flag's value."""
        return (self.flag or self.name).lstrip("-").replace("-", "_")

    @property
    def row(self) -> tuple[str | None, ...]:
        """What pytest is told of it, as in the manifest."""
        row = self.name, self.type, self.flag, self.help
        return (*row, self.bare) if self.bare else row


class Setting(NamedTuple):
    """A value and where it was set: ``default``, ``pytest.ini``, ``BERTH_SOURCE``, ``-o``."""

    value: Any
    origin: str


class Settings:
    """All values of a run, looked up by their `Option`.

    Attributes:
        root: Directory that paths in the settings are relative to.
        values: The values by the options' names.
        problems: What is wrong with the settings.
    """

    def __init__(
        self, root: Path, values: Mapping[str, Setting], problems: tuple[SettingsError, ...] = ()
    ) -> None:
        self.root = root
        self.values = values
        self.problems = problems

    def __getitem__(self, option: Option[T]) -> T:
        """Return the option's value."""
        try:
            return cast("T", self.values[option.name].value)
        except KeyError:
            raise ServiceError(
                f"{option.name} is not a setting of this run.",
                why="no service has it among its options",
                remedy="add it to the options of the service that reads it",
            ) from None

    def origin(self, option: Option[Any]) -> str:
        """Return where the option's value was set."""
        return self.values[option.name].origin

    def amend(self, name: str, value: object, origin: str) -> None:
        """Set what is only known once the application's own settings have been read.

        Args:
            name: The option's name.
            value: The parsed value.
            origin: Where it comes from, as messages tell it.
        """
        self.values = {**self.values, name: Setting(value, origin)}

    def given(self, option: Option[Any]) -> str:
        """Return ``name = value (origin)`` for messages."""
        return describe(option.name, self.values[option.name])


def describe(name: str, setting: Setting) -> str:
    """Return ``name = value (origin)``."""
    value = "***" if setting.value and name.endswith("_password") else setting.value
    shown = "not set" if value == 0 and name.endswith("_port") else _shown(value)
    return f"{name} = {mask(shown)} ({setting.origin})"


def _shown(value: Any) -> str:
    """Return a value as it is written in an ini file; ``not set`` for none."""
    if value in (None, "", (), timedelta()):
        return "not set"
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
        size, unit = next((n, u) for n, u in _SIZES if n <= 1 or not seconds % n)
        return f"{seconds / size:g}{unit}"
    if isinstance(value, tuple):
        return " | ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def mask(text: str) -> str:
    """Return the text with ``***`` for the passwords of URLs, and for a user without one.

    That may be a token.
    """
    return re.sub(_PASSWORD, r"\g<before>\g<scheme>\g<name>***", text)


def text(value: str) -> str:
    """Take the text as it is, without surrounding blanks."""
    return value.strip()


def lines(value: Iterable[str]) -> tuple[str, ...]:
    """Take every line that is neither empty nor a comment."""
    stripped = (line.strip() for line in value)
    return tuple(line for line in stripped if line and not line.startswith("#"))


def words(value: Iterable[str]) -> tuple[str, ...]:
    """Take every word of every line."""
    return tuple(word for line in lines(value) for word in line.split())


class ServiceLine(str):
    """A line of ``berth_services``; it is shown without what looks like a secret."""

    __slots__ = ()

    def __str__(self) -> str:
        """Return the line as it is shown."""
        from pytest_berth.shown_values import masked

        return masked(self[:])


def service_lines(value: Iterable[str]) -> tuple[str, ...]:
    """Take every line that is neither empty nor a comment; what it says is read later."""
    return tuple(map(ServiceLine, lines(value)))


def boolean(value: str | bool) -> bool:
    """Take true/false, yes/no, on/off, 1/0."""
    known = {"true": True, "yes": True, "on": True, "1": True}
    known |= {"false": False, "no": False, "off": False, "0": False}
    try:
        return known[str(value).strip().lower()]
    except KeyError:
        raise ValueError("use true or false") from None


def seconds(value: str) -> float:
    """Take a number of seconds, from one to 10^9 milliseconds, which every server can count."""
    try:
        number = float(value)
    except ValueError:
        raise ValueError("use a number of seconds, such as 60") from None
    if not 0.001 <= number <= 1_000_000:
        raise ValueError("use a number of seconds above 0: 0.001 at least, 1000000 at most")
    return number


def count(value: str) -> int:
    """Take a whole number, 0 included."""
    if not value.strip().isdecimal():
        raise ValueError("use a whole number, such as 15; 0 for none")
    return int(value)


def duration(value: str) -> timedelta:
    """Take a time such as ``15m``, ``90s``, ``1.5h`` or ``30 days``; ``0`` needs no unit."""
    match = re.fullmatch(_DURATION, value.strip())
    if not match:
        number = re.fullmatch(r"\s*(\d+)\s*", value)
        meant = f"did you mean {number[1]}m or {number[1]}s? " if number else ""
        raise ValueError(f"{meant}use a number with its unit: 90s, 15m or 1h; 0 for not at all")
    if not match["number"]:
        return timedelta()
    unit = (match["unit"] or match["word"])[0]
    try:
        return timedelta(**{_UNITS[unit]: float(match["number"])})
    except OverflowError:
        raise ValueError("use a time that comes to an end, such as 15m") from None


def choice(*valid: str) -> Callable[[str], str]:
    """Take one of the valid words."""

    def parse(value: str) -> str:
        word = value.strip()
        if word not in valid:
            raise ValueError(nearest(word, filter(None, valid)))
        return word

    return parse


def audit(value: str) -> str:
    """Take off, report or fail; what follows the flag by mistake is a path most often."""
    word = value.strip()
    if word not in ("off", "report", "fail"):
        raise ValueError(
            "use report, fail or off; where a path follows the flag: --berth-audit=report PATH"
        )
    return word


SOURCE: Option[str] = Option(
    "berth_source",
    choice("auto", "container", "local", "external"),
    "auto",
    "where servers come from: auto (default), container, local or external",
    flag="--berth-source",
)
MISSING: Option[str] = Option(
    "berth_missing",
    choice("fail", "skip"),
    "fail",
    "what happens to integration tests when no source can serve: fail (default) or skip",
)
ORDER: Option[str] = Option(
    "berth_order",
    choice("unit-first", "none"),
    "unit-first",
    "unit-first (default) runs modules without integration tests first, then those whose servers"
    " start soonest; none leaves the order",
)
FAIL_FAST: Option[bool] = Option(
    "berth_fail_fast",
    boolean,
    False,
    "end the run before any server starts when a unit test failed",
    type="bool",
    flag="--berth-fail-fast",
)
START_AHEAD: Option[bool] = Option(
    "berth_start_ahead",
    boolean,
    True,
    "start the servers that selected tests need while tests before them run (default true)",
    type="bool",
)
EXPORT: Option[tuple[str, ...]] = Option(
    "berth_export",
    lines,
    (),
    "environment variables for the application: lines such as DATABASE_URL = {pg_url}",
    type="linelist",
)
AUTOUSE: Option[tuple[str, ...]] = Option(
    "berth_autouse",
    words,
    (),
    "services that tests reach without a fixture: pg, redis, kafka; each test has a clean slate",
    type="linelist",
)
AUTOUSE_PATHS: Option[tuple[str, ...]] = Option(
    "berth_autouse_paths",
    lines,
    (),
    "directories or files of the tests that berth_autouse is about (default all)",
    type="linelist",
)
DJANGO: Option[bool] = Option(
    "berth_django",
    boolean,
    False,
    "lead DATABASES of the Django project to servers of berth, migrated once: each worker's test"
    " database is a clone",
    type="bool",
)
FOREIGN: Option[str] = Option(
    "berth_foreign",
    choice("warn", "fail", "allow"),
    "warn",
    "what happens when an integration test connects to a server that is not of this run: warn"
    " (default), fail or allow",
)
FOREIGN_ALLOW: Option[tuple[str, ...]] = Option(
    "berth_foreign_allow",
    words,
    (),
    "host:port (globs) of servers of others that integration tests may connect to",
    type="linelist",
)
SERVICES: Option[tuple[str, ...]] = Option(
    "berth_services",
    service_lines,
    (),
    "services of any image: lines such as mailpit = axllent/mailpit:v1.20 smtp:1025 http:8025"
    " reset=DELETE,http:/api/v1/messages",
    type="linelist",
)
COMPOSE: Option[tuple[str, ...]] = Option(
    "berth_compose",
    words,
    (),
    "Compose files whose services tests get: compose.yaml; later files add to earlier ones",
    type="linelist",
)
COMPOSE_PROFILES: Option[tuple[str, ...]] = Option(
    "berth_compose_profiles",
    words,
    (),
    "profiles of the Compose files that are switched on; * for all",
    type="linelist",
)
START_TIMEOUT: Option[float] = Option(
    "berth_start_timeout",
    seconds,
    60.0,
    "seconds that a server may take to become ready (default 60)",
)
SNAPSHOTS: Option[str] = Option(
    "berth_snapshots",
    choice("auto", "on", "off"),
    "auto",
    "whether servers start from the data of earlier ones: auto (default; not in CI), on or off",
)
WAIT_AT_END: Option[str] = Option(
    "berth_wait_at_end",
    choice("auto", "on", "off"),
    "auto",
    "whether pytest waits until its containers are removed, and their snapshots stored: auto"
    " (default; where a reaper might end with it, as in CI), on, or off: the run's reaper does it",
)
KEEP: Option[timedelta] = Option(
    "berth_keep",
    duration,
    timedelta(),
    "how long servers stay for the next run of the same project: 15m, 90s, 1h (default: not)",
    flag="--berth-keep",
)
KEEP_FAILED: Option[bool] = Option(
    "berth_keep_failed",
    boolean,
    False,
    "let the state of failing tests stay on their servers, for as long as berth_keep says, or 1h",
    type="bool",
    flag="--berth-keep-failed",
)
REPORT_LINES: Option[int] = Option(
    "berth_report_lines",
    count,
    15,
    "lines that each section of a failing test's report may have (default 15); 0 leaves out what"
    " the test did, changed and left behind, and records nothing",
)
HTML: Option[str] = Option(
    "berth_html",
    text,
    "",
    "file that gets a page of the run: starts, tests, failures with all that is known of them",
    flag="--berth-html",
)
JSON: Option[str] = Option(
    "berth_json",
    text,
    "",
    "file that gets the same for programs, as JSON",
    flag="--berth-json",
)
SUMMARY: Option[bool] = Option(
    "berth_summary",
    boolean,
    False,
    "tell at the end how long starts, schema and isolation took, what was put back, and what stays;"
    " -v does so, too",
    type="bool",
    flag="--berth-summary",
)
HINTS: Option[bool] = Option(
    "berth_hints",
    boolean,
    True,
    "tell at the end what would be faster, or may be a mistake, a line each (default true)",
    type="bool",
)
AUDIT: Option[str] = Option(
    "berth_audit",
    audit,
    "off",
    "compare all servers with their baseline after every test, which is slow: report (the flag"
    " alone) tells the first test that broke each thing, fail makes it an error; off (default)",
    flag="--berth-audit",
    bare="report",
)
ARTIFACT_MIRROR: Option[str] = Option(
    "berth_artifact_mirror",
    text,
    "https://repo1.maven.org/maven2",
    "Maven repository that server binaries are fetched from",
)
RYUK: Option[bool] = Option(
    "berth_ryuk",
    boolean,
    False,
    "let testcontainers' reaper, a container, remove the containers of a killed run",
    type="bool",
)
OPTIONS: tuple[Option[Any], ...] = (
    SOURCE,
    MISSING,
    ORDER,
    FAIL_FAST,
    START_AHEAD,
    EXPORT,
    AUTOUSE,
    AUTOUSE_PATHS,
    DJANGO,
    FOREIGN,
    FOREIGN_ALLOW,
    SERVICES,
    COMPOSE,
    COMPOSE_PROFILES,
    START_TIMEOUT,
    SNAPSHOTS,
    WAIT_AT_END,
    KEEP,
    KEEP_FAILED,
    REPORT_LINES,
    HTML,
    JSON,
    SUMMARY,
    HINTS,
    AUDIT,
    ARTIFACT_MIRROR,
    RYUK,
)


def may_outlive_run(settings: Settings) -> bool:
    """Tell whether servers may stay when the run has ended."""
    return bool(settings[KEEP]) or settings[KEEP_FAILED]


def defaults(root: Path, options: Iterable[Option[Any]]) -> Settings:
    """Return the settings of a process that works outside pytest."""
    return Settings(root, {option.name: Setting(option.default, "default") for option in options})
