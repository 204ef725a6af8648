"""Turns the services of Compose files into berth's own, and into services of any image.

A service whose image is one of `FromCompose.images` sets what berth's own service takes from the
settings; all others become declarations as of lines of ``berth_services``. What cannot be honoured
is named.
"""

from __future__ import annotations

import difflib
import re
import shlex
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_berth.config.common_options import parse_scope
from pytest_berth.config.loading import Preset
from pytest_berth.errors import SettingsError, nearest
from pytest_berth.services.compose import files
from pytest_berth.services.generic import lines, ready
from pytest_berth.services.generic.declaration import Declaration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_berth.config.descriptor import FromCompose, Service
    from pytest_berth.config.options import Option

# What else Compose has in a service: so it is known, and not misspelt.
_KNOWN = {
    *("blkio_config", "build", "cgroup", "cgroup_parent", "command", "configs", "cpu_count"),
    *("cpu_percent", "cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime", "cpu_shares"),
    *("cpus", "cpuset", "credential_spec", "device_cgroup_rules", "devices", "dns", "dns_opt"),
    *("dns_search", "extends", "external_links", "extra_hosts", "gpus", "ipc", "isolation"),
    *("label_file", "links", "mac_address", "mem_reservation", "mem_swappiness", "memswap_limit"),
    *("network_mode", "oom_kill_disable", "oom_score_adj", "pid", "pids_limit", "post_start"),
    *("pre_stop", "provider", "runtime", "secrets", "storage_opt", "tmpfs", "ulimits"),
    *("use_api_socket", "userns_mode", "uts", "volumes_from"),
}
_HAS_OWN = "berth has its own, and tells the application by berth_export"
INIT = "/docker-entrypoint-initdb.d"
_OWN = "x-berth"
_OWN_WORDS = ("name", "ready", "reset", "scope")
# Those of images of berth's own services.
_PROGRAMS = {"mariadbd", "mysqld", "postgres", "redis-server", "valkey-server"}
# Where and how long it runs, and who sees it: that is settled by berth.
_SETTLED = {
    *("annotations", "attach", "container_name", "depends_on", "deploy", "develop", "expose"),
    *("healthcheck", "image", "labels", "logging", "networks", "ports", "profiles", "pull_policy"),
    *("restart", "scale", "stop_grace_period", "volumes", "env_file", "environment"),
}
# What docker-py's `containers.create` takes under the same name.
_PASSED_ON = {
    *("cap_add", "cap_drop", "domainname", "entrypoint", "group_add", "hostname", "init"),
    *("mem_limit", "platform", "privileged", "read_only", "security_opt", "shm_size", "stdin_open"),
    *("stop_signal", "sysctls", "tty", "user", "working_dir"),
}
_MOST_FILES, _MOST_BYTES = 200, 4 << 20
_VERSION = re.compile(r"(?:.*\bpg)?(?P<version>\d+(?:\.\d+)*)")


class Composed(NamedTuple):
    """What Compose files say.

    Attributes:
        declared: The services of any image.
        presets: What berth's own services take from the files, by the options' names.
        become: What each service has become, for the header.
        left: What is not honoured: ``mail.privileged``.
        names: What services are called here, by their names in the files.
    """

    declared: list[Declaration]
    presets: dict[str, Preset]
    become: list[str]
    left: list[str]
    names: dict[str, str]


def compose(
    paths: Sequence[Path],
    profiles: Sequence[str],
    known: Sequence[Service],
    environment: Mapping[str, str],
    origin: str,
) -> Composed:
    """Return what Compose files say.

    Args:
        paths: The files, of which later ones add to and override earlier ones.
        profiles: The profiles that are switched on.
        known: The services that berth has of its own.
        environment: The environment of this process.
        origin: Where the files are set.

    Raises:
        SettingsError: A file cannot be read, or a service be used.
        MissingExtraError: PyYAML is not installed.
    """
    services, told = files.read(paths, environment, origin)
    file = " + ".join(path.name for path in paths)
    found = Composed([], {}, [], told, {})
    found.left.extend(_unknown_profiles(services, profiles))
    taken: set[str] = set()
    for name, service in services.items():
        if not _is_on(service, profiles):
            continue
        try:
            _require_there(service, services)
            _add(found, name, service, _own(service, known, taken), environment, file)
        except (ValueError, OSError) as error:
            raise SettingsError(
                f"the service {name!r} of {file} cannot be used: {error}.",
                why=f"berth_compose is set by {origin}",
                remedy="correct it there, or give it a profile that is not switched on",
            ) from error
    try:
        return found._replace(declared=_in_order(found))
    except CycleError as error:
        raise SettingsError(
            f"services of {file} depend on each other in a circle.",
            why=f"{' -> '.join(error.args[1])}; berth_compose is set by {origin}",
            remedy="leave one depends_on out",
        ) from None


def _in_order(found: Composed) -> list[Declaration]:
    """Return what is declared, those first that others depend on; what is left out is named.

    Raises:
        CycleError: There is no such order.
    """
    settled = {}
    for each in found.declared:
        names = {alias: found.names[alias] for alias in each.depends_on if alias in found.names}
        left = each.depends_on.keys() - names.keys()
        found.left.extend(f"{each.name}.depends_on.{alias}" for alias in sorted(left))
        settled[each.name] = replace(each, depends_on=names)
    needed = {name: list(each.depends_on.values()) for name, each in settled.items()}
    order = TopologicalSorter(needed).static_order()
    return [settled[name] for name in order if name in settled]


def _is_on(service: Mapping[str, Any], profiles: Sequence[str]) -> bool:
    own = service.get("profiles") or ()
    return not own or "*" in profiles or not set(own).isdisjoint(profiles)


def _unknown_profiles(
    services: Mapping[str, Mapping[str, Any]], profiles: Sequence[str]
) -> list[str]:
    """Return what is told of profiles that no service has."""
    known = {each for service in services.values() for each in service.get("profiles") or ()}
    return [
        f"the profile {each!r}, which no service has{f' ({nearest(each, known)})' if known else ''}"
        for each in profiles
        if each not in {*known, "*"}
    ]


def _require_there(service: Mapping[str, Any], services: Mapping[str, Any]) -> None:
    for each in service.get("depends_on") or ():
        if each not in services:
            raise ValueError(
                f"it depends on {each!r}, which is not there, {nearest(each, services)}"
            )


def _named(key: str) -> str:
    """Return a key that is not honoured, with the one that may be meant where Compose has none."""
    known = _SETTLED | _PASSED_ON | _KNOWN
    match = difflib.get_close_matches(key, known, n=1) if key not in known else []
    return f"{key} (did you mean {match[0]!r}?)" if match else key


def _own_words(service: Mapping[str, Any], known: Sequence[str] = _OWN_WORDS) -> dict[str, str]:
    """Return what ``x-berth`` says.

    Raises:
        ValueError: It is misspelt, or says something that is unknown.
    """
    for key in service:
        if key != _OWN and key.startswith("x-") and difflib.get_close_matches(key, [_OWN]):
            raise ValueError(f"{key!r} is unknown, did you mean {_OWN!r}?")
    given = service.get(_OWN)
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ValueError(f"{_OWN} is {given!r}, and has to be a map, such as {{reset: restart}}")
    for key, value in given.items():
        if key not in _OWN_WORDS:
            raise ValueError(f"{_OWN} has an unknown word {key!r}, {nearest(str(key), _OWN_WORDS)}")
        if key not in known:
            raise ValueError(f"{_OWN}.{key} is for services of any image, and it is berth's own")
        if not isinstance(value, str):
            raise ValueError(f"{_OWN}.{key} is {value!r}, and has to be a text")
    return given


def _own(
    service: Mapping[str, Any], known: Sequence[Service], taken: set[str]
) -> tuple[Service, bool] | None:
    """Return berth's own service of this image, the first time, and whether the image itself fits.

    A second one in the file is one of any image.
    """
    repository = _repository(service.get("image") or "")
    for each in known:
        images = each.compose
        if images and repository in {*images.images, *images.alike} and each.name not in taken:
            taken.add(each.name)
            return each, repository in images.images
    return None


def _repository(image: str) -> str:
    """Return the name of an image without registry, tag and digest: ``postgis/postgis``."""
    name = image.partition("@")[0]
    head, slash, rest = name.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        name = rest
    return name.partition(":")[0].removeprefix("library/")


def _add(
    found: Composed,
    name: str,
    service: Mapping[str, Any],
    own: tuple[Service, bool] | None,
    environment: Mapping[str, str],
    file: str,
) -> None:
    variables = _environment(service, environment)
    if own:
        kind, fits = own
        found.names[name] = kind.name
        _preset(found, name, service, kind, variables, file, fits=fits)
        about = "" if fits else f" (berth's own image, not {service['image']})"
        found.become.append(f"{name} is {kind.name}{about}")
    elif service.get("build") or not service.get("image"):
        found.left.append(f"{name} (it is built, and has no image)")
    else:
        declared, left = _declaration(name, service, variables, file)
        if declared.ports:
            found.declared.append(declared)
            found.names[name] = declared.name
            found.become.append(f"{name} is of any image")
            found.left.extend(f"{name}.{key}" for key in left)
        else:
            found.left.append(f"{name} (it names no port)")


def _environment(service: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a service: that of its files, and its own before it."""
    found: dict[str, str] = {}
    for each in service.get("env_file") or ():
        path = Path(each["path"])
        if path.is_file() or each["required"]:
            found |= files.variables_of(_there(path))
    for variable, value in (service.get("environment") or {}).items():
        given = environment.get(variable) if value is None else value
        if given is not None:
            found[variable] = str(given)
    return found


def _there(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"its env_file {path} is not there")
    return path


# Berth's own services.


def _preset(
    found: Composed,
    name: str,
    service: Mapping[str, Any],
    own: Service,
    variables: Mapping[str, str],
    file: str,
    *,
    fits: bool,
) -> None:
    origin, images = f"{file}, service {name}", own.compose
    assert images is not None, "it is found by its images"
    presets: dict[str, Any] = {}
    words = _own_words(service, ["scope"])
    if "scope" in words:
        presets[own.scope.name] = words["scope"]
    if fits:
        presets[own.image.name] = service["image"]
        version = _VERSION.match(service["image"].partition("@")[0].rpartition(":")[2])
        if version:
            presets[own.version.name] = version["version"]
    settings = []
    for variable, value in variables.items():
        option, setting = images.environment.get(variable), None
        if option is None and images.setting_of and variable not in images.without_effect:
            setting = images.setting_of(variable)
        if option:
            presets[option.name] = value
        elif setting:
            settings.append(f"{setting} = {value}")
        elif setting is None and variable not in {*images.without_effect, *images.accounts}:
            found.left.append(f"{name}.environment.{variable}")
    accounts = [each for each in images.accounts if each in variables]
    if accounts:
        found.left.append(f"{name}.environment.{', '.join(accounts)} ({_HAS_OWN})")
    presets = {**_from_others(images, presets), **presets}
    scripts, left = _scripts(service)
    if scripts and images.init_scripts:
        presets[images.init_scripts.name] = scripts
    elif scripts:
        left.append("volumes")
    flags = _flags(_words(service.get("command"))) if images.settings else []
    if service.get("command") and not flags and "command" not in images.without_effect:
        left.append("command")
    if images.settings:
        taken, refused = _apart([*settings, *flags], images.settings)
        left += [f"command ({each})" for each in refused if each in flags]
        if taken:
            presets[images.settings.name] = taken
    further = [key for key in service if key not in {*_SETTLED, "command"}]
    left += [_named(key) for key in further if not key.startswith("x-")]
    found.left.extend(f"{name}.{key}" for key in left)
    found.presets.update({key: Preset(value, origin) for key, value in presets.items()})


def _from_others(images: FromCompose, presets: Mapping[str, Any]) -> dict[str, Any]:
    """Return what follows from the other presets: the database's name, and who has a server."""
    found: dict[str, Any] = {}
    for option, source in images.defaults.items():
        if option.name not in presets and source.name in presets:
            found[option.name] = presets[source.name]
    fixed = images.alone_with
    if fixed and fixed.name in {**presets, **found} and images.scope:
        found[images.scope.name] = "worker"
    return found


def _scripts(service: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the SQL files that the image would run at its first start, and what is left."""
    scripts: dict[str, str] = {}
    left = []
    for target, mount in (service.get("volumes") or {}).items():
        inside, source = target.rstrip("/"), Path(mount["source"])
        if mount["type"] != "bind":
            continue
        if inside == INIT and source.is_dir():
            scripts |= {each.name: str(each) for each in source.iterdir() if each.is_file()}
        elif inside.startswith(f"{INIT}/") and source.is_file():
            scripts[inside[len(INIT) + 1 :]] = str(source)
        elif source.is_file() or mount["read_only"]:
            left.append(f"volumes.{target}")
    runs = {each: path for each, path in scripts.items() if path.endswith(".sql")}
    left += [f"volumes.{INIT}/{each}" for each in sorted(scripts.keys() - runs.keys())]
    return [runs[each] for each in sorted(runs)], left


def _flags(words: Sequence[str]) -> list[str]:
    """Return lines ``name = value`` for the arguments of a server; none for anything else.

    They are ``-c name=value``, ``--name=value`` or ``--name value``.
    """
    rest = list(words[1:] if words and words[0] in _PROGRAMS else words)
    found: list[str] = []
    while rest:
        flag = rest.pop(0)
        if flag == "-c" and rest and "=" in rest[0]:
            name, _, value = rest.pop(0).partition("=")
        elif flag.startswith("--") and flag[2:]:
            name, equals, value = flag[2:].partition("=")
            while rest and not equals and not rest[0].startswith("-"):
                value = f"{value} {rest.pop(0)}".strip()
            if not value and not name.startswith("skip-"):
                return []
        else:
            return []
        found.append(f"{name} = {value}".strip())
    return found


def _apart(settings: Sequence[str], option: Option[Any]) -> tuple[list[str], list[str]]:
    """Return the lines that an option takes, and those that it refuses as berth settles them."""
    taken, refused = list[str](), list[str]()
    for line in settings:
        try:
            option.parse([line])
        except ValueError:
            refused.append(line)
        else:
            taken.append(line)
    return taken, refused


def _words(value: Any) -> list[str]:
    return shlex.split(value) if isinstance(value, str) else list(map(str, value or ()))


# Services of any image.


def _declaration(
    name: str, service: Mapping[str, Any], variables: Mapping[str, str], file: str
) -> tuple[Declaration, list[str]]:
    given = _own_words(service)
    prefix = given.get("name") or re.sub(r"\W", "_", name.lower())
    if not re.fullmatch(lines.NAME, prefix):
        raise ValueError(
            f"{prefix!r} is no name for fixtures: let {_OWN}.name begin with a small letter, and go"
            " on with small letters, digits and _"
        )
    published = service.get("ports") or {}
    numbers = {**published, **{each: each for each in service.get("expose") or {}}, **published}
    ports = {each: int(number) for number, each in numbers.items()}
    copied, left = _copied(service)
    left += [
        _named(key)
        for key in service
        if key not in {*_SETTLED, *_PASSED_ON, "command", "tmpfs"} and not key.startswith("x-")
    ]
    options = {key: service[key] for key in service.keys() & _PASSED_ON}
    if "entrypoint" in options:
        options["entrypoint"] = _words(options["entrypoint"])
    return (
        Declaration(
            prefix,
            service["image"],
            ports,
            file,
            lines.ready_of(given["ready"], ports) if "ready" in given else _healthy(service),
            lines.reset_of(given.get("reset", "none"), ports),
            variables,
            tuple(_words(service.get("command"))),
            copied,
            options,
            parse_scope(given["scope"]) if "scope" in given else "",
            depends_on={each: each for each in service.get("depends_on") or {}},
            in_memory=tuple(each.partition(":")[0] for each in service.get("tmpfs") or ()),
        ),
        left,
    )


def _healthy(service: Mapping[str, Any]) -> ready.Check | None:
    """Return the service's own health check."""
    health = service.get("healthcheck") or {}
    test = health.get("test")
    if not test or health.get("disable") in (True, "true") or test in ("NONE", ["NONE"]):
        return None
    if isinstance(test, str):
        return ready.CommandSucceeds(("/bin/sh", "-c", test))
    kind, *words = test
    if kind == "CMD":
        return ready.CommandSucceeds(tuple(words))
    if kind == "CMD-SHELL":
        return ready.CommandSucceeds(("/bin/sh", "-c", " ".join(words)))
    raise ValueError(f"its healthcheck.test begins with {kind!r}, not CMD or CMD-SHELL")


def _copied(service: Mapping[str, Any]) -> tuple[dict[str, Path], list[str]]:
    """Return the files that are mounted to be read, and what of them is left out.

    Directories that the container may write to hold data, and are not looked at.
    """
    found: dict[str, Path] = {}
    left = []
    for target, mount in (service.get("volumes") or {}).items():
        source = Path(mount["source"])
        if mount["type"] != "bind":
            continue
        if source.is_file():
            found[target] = source
        elif source.is_dir() and mount["read_only"]:
            try:
                files = (each for each in source.rglob("*") if each.is_file())
                below = [*islice(files, _MOST_FILES + 1)]
            except OSError as error:
                left.append(f"volumes.{target} (it cannot be read: {error.strerror})")
                continue
            if len(below) > _MOST_FILES or sum(each.stat().st_size for each in below) > _MOST_BYTES:
                left.append(f"volumes.{target} (it is large)")
            else:
                found |= {f"{target}/{each.relative_to(source)}": each for each in below}
        else:
            left.append(f"volumes.{target}")
    return found, left
