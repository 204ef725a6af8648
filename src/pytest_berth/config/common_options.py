"""The ini options that every service has, under the same names for the same things."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.config.options import Option, choice, lines, text, words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RUN, WORKER, TEST = "run", "worker", "test"
parse_scope = choice(RUN, WORKER, TEST)


def version(prefix: str, label: str, given: str | Option[str]) -> Option[str]:
    """Return the option that names the version, as it is given or with its default."""
    if isinstance(given, Option):
        return given
    about = f"version of {label}" + (f" (default {given})" if given else "")
    return Option(f"berth_{prefix}_version", text, given, about)


def image(prefix: str, given: str | Option[str]) -> Option[str]:
    """Return the option that names the container's image, as it is given or with its default."""
    if isinstance(given, Option):
        return given
    about = "image of the container" + (f" (default {given})" if given else "")
    return Option(f"berth_{prefix}_image", text, "", about)


def image_such_as(prefix: str, examples: str) -> Option[str]:
    """Return the option that names the container's image, with examples."""
    return Option(f"berth_{prefix}_image", text, "", f"image of the container, such as {examples}")


def url(prefix: str, label: str, schemes: Sequence[str]) -> Option[str]:
    """Return the option that names a server which is there already."""
    example = f"use a URL such as {schemes[0]}://host:port"
    if schemes[1:]:
        example += f" (or {', '.join(f'{scheme}://' for scheme in schemes[1:])})"

    def parse(value: str) -> str:
        from urllib.parse import urlsplit

        given = value.strip()
        try:
            parts = urlsplit(given)
            usable = parts.scheme in schemes and parts.hostname and parts.port != 0
        except ValueError:  # the port is no number, or a bracket is missing
            usable = False
        if given and not usable:
            raise ValueError(example)
        if given and (parts.path.strip("/") or parts.query or parts.fragment):
            raise ValueError(f"{example}, without path, query or fragment")
        return given

    return Option(f"berth_{prefix}_url", parse, "", f"URL of a {label} that is there already")


def source(prefix: str, label: str) -> Option[str]:
    """Return the option that says where this service comes from."""
    return Option(
        f"berth_{prefix}_source",
        choice("", "auto", "container", "local", "external"),
        "",
        f"where {label} comes from, when it differs from berth_source",
    )


def server_settings(
    prefix: str, noun: str, example: str, is_settled: Callable[[str], object]
) -> Option[tuple[str, ...]]:
    """Return the option for the server's own settings.

    Args:
        prefix: What the service's options begin with.
        noun: ``server`` or ``broker``.
        example: A line that can be used.
        is_settled: Tells whether a name is settled by the source that runs the server.
    """

    def parse(value: list[str]) -> tuple[str, ...]:
        pairs = lines(value)
        for pair in pairs:
            name, equals, _ = pair.partition("=")
            if not equals or not name.strip():
                raise ValueError(f"use lines such as {example}, not {pair!r}")
            if is_settled(name.strip()):
                raise ValueError(f"leave {name.strip()} out: berth settles it itself")
        return pairs

    return Option(
        f"berth_{prefix}_settings",
        parse,
        (),
        f"settings of the {noun} beside those fit for tests: lines such as {example}",
        type="linelist",
    )


def scope(prefix: str, noun: str, given: str | Option[str] = RUN) -> Option[str]:
    """Return the option that says who shares a server, as it is given or with its default."""
    if isinstance(given, Option):
        return given
    who = {RUN: "the run", WORKER: "a worker", TEST: "nobody but the test"}
    if given not in who:
        raise ValueError(f"scope is one of {', '.join(who)}, not {given!r}")
    who[given] += " (default)"
    about = f"who shares a {noun}: {who[RUN]}, {who[WORKER]}, or {who[TEST]}"
    return Option(f"berth_{prefix}_scope", parse_scope, given, about)


def port(prefix: str, noun: str, example: int = 0) -> Option[int]:
    """Return the option that fixes the server's port."""
    such_as = f", such as {example}" if example else ""

    def parse(value: str) -> int:
        if not value.strip():
            return 0
        if not value.strip().isdigit() or not 0 < int(value) < 65536:
            raise ValueError(f"use a number from 1 to 65535{such_as}")
        return int(value)

    return Option(
        f"berth_{prefix}_port",
        parse,
        0,
        f"TCP port of the {noun} that berth starts, on this machine (default any that is free)",
    )


def factories(prefix: str) -> Option[tuple[str, ...]]:
    """Return the option that names the modules of factories which get the test's session."""
    return Option(
        f"berth_{prefix}_factories",
        words,
        (),
        "modules with factories of factory_boy or polyfactory: they get the session of the test",
        type="linelist",
    )


def allow_reset(prefix: str, what: str) -> Option[tuple[str, ...]]:
    """Return the option that names what may be emptied on a server which is not ours."""
    return Option(
        f"berth_{prefix}_allow_reset",
        words,
        (),
        f"names (globs) of {what} may be deleted",
        type="linelist",
    )


def schema(prefix: str) -> Option[tuple[str, ...]]:
    """Return the option that says what makes a database's schema."""
    return Option(
        f"berth_{prefix}_schema",
        lines,
        (),
        "what makes the schema: package.module:Base.metadata, *.sql, alembic: alembic.ini,"
        " command:",
        type="linelist",
    )


def seed(prefix: str) -> Option[tuple[str, ...]]:
    """Return the option that says what every test finds in a database."""
    return Option(
        f"berth_{prefix}_seed",
        lines,
        (),
        "what every test finds in the database: package.module:function, *.sql, command: ...",
        type="linelist",
    )


def alembic_drift(prefix: str) -> Option[str]:
    """Return the option that says whether models and migrations have to agree."""
    return Option(
        f"berth_{prefix}_alembic_drift",
        choice("ignore", "error"),
        "ignore",
        "error: models that differ from the migrations are an error (default ignore)",
    )
