"""How a RabbitMQ server is launched."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from pytest_berth.api import Container, Credentials, LocalProcess
from pytest_berth.services.rabbitmq import options as ini
from pytest_berth.services.rabbitmq.urls import MANAGEMENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_berth.api import LocalRequest
    from pytest_berth.config.options import Settings

PORT = 5672
USER = "berth"
_CONFIGURATION = "/etc/rabbitmq/conf.d/90-berth.conf"
_PLUGINS = "/etc/rabbitmq/enabled_plugins"
# What an installed server would take from the machine's configuration, or from the user's.
_HEEDED = ("RABBITMQ_", "ERL_")


def credentials(settings: Settings) -> Credentials:
    """Return a new account, and the token: the name of the cluster, which each connection tells."""
    token = f"berth-{secrets.token_hex(16)}"
    given = bool(settings[ini.PORT])
    return Credentials(USER, secrets.token_hex(16), "", token=token, given=given)


def container(settings: Settings, account: Credentials) -> Container:
    """Describe the container, through the interface of the official image."""
    image = settings[ini.IMAGE] or f"rabbitmq:{settings[ini.VERSION]}-management-alpine"
    # The port inside is the one outside, too, where an engine lets containers be reached directly.
    port = settings[ini.PORT] or PORT
    place = {"listeners.tcp.default": str(port), "management.tcp.port": MANAGEMENT}
    files = {
        _CONFIGURATION: _configuration(settings, account, place),
        _PLUGINS: _plugins(settings),
    }
    return Container(image, port, files=files, further_ports=(int(MANAGEMENT),))


def local(settings: Settings, request: LocalRequest) -> LocalProcess:
    """Describe the process: the node itself, which needs no epmd.

    RabbitMQ starts epmd, which outlives it, unless Erlang's distribution runs already.
    """
    from pytest_berth.services.rabbitmq import programs

    found = programs.find(settings)
    directory = request.directory
    # Clients know where the one is whose place this one takes.
    management = int(request.parameters.get(MANAGEMENT, 0)) or request.further_port()
    distribution = request.further_port()
    node = f"berth_{request.port}@localhost"
    place = {
        "listeners.tcp.1": f"127.0.0.1:{request.port}",
        "management.tcp.ip": "127.0.0.1",
        "management.tcp.port": str(management),
    }
    variables = {
        "HOME": str(directory),
        "ERL_CRASH_DUMP_BYTES": "0",
        # Also for the node by which RabbitMQ starts epmd when it has run for a minute.
        "ERL_FLAGS": "-start_epmd false",
        "RABBITMQ_ALLOW_INPUT": "true",  # without it, a shell stays beside the node
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(directory / "advanced.config"),
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
        "RABBITMQ_CONFIG_FILES": str(directory / "conf.d" / "*.conf"),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_MNESIA_BASE": str(directory / "data"),
        "RABBITMQ_NODENAME": node,
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"-sname {node}"
        f" -erl_epmd_port {distribution} -kernel inet_dist_use_interface {{127,0,0,1}}",
    }
    unset = [f"-u{name}" for name in os.environ if name.startswith(_HEEDED)]
    given = [f"{name}={value}" for name, value in variables.items()]
    return LocalProcess(
        version=found.version,
        detail=str(found.script),
        command=["env", *unset, *given, str(found.script), "-noinput"],
        files={
            "rabbitmq.conf": _configuration(settings, request.credentials, place),
            "enabled_plugins": _plugins(settings),
            ".erlang.cookie": secrets.token_hex(16).encode(),
        },
        # The data is thrown away.
        stop_signal="SIGKILL",
        parameters={MANAGEMENT: str(management)},
    )


def local_identity(settings: Settings) -> list[str]:
    """Return what makes one process differ from another: programs and settings."""
    from pytest_berth.services.rabbitmq import programs
    from pytest_berth.sources.programs import file_fingerprints

    found = file_fingerprints(programs.scripts())
    return [*found, _configuration(settings, Credentials("", "", ""), {}).decode()]


def _configuration(settings: Settings, account: Credentials, place: Mapping[str, str]) -> bytes:
    values = {
        **place,
        "default_user": account.user,
        "default_pass": account.password,
        "cluster_name": account.token,
        "log.console": "true",
        "log.console.level": "warning",
        "log.file": "false",
    }
    for pair in settings[ini.SETTINGS]:
        name, _, value = pair.partition("=")
        values[name.strip()] = value.strip()
    return "".join(f"{name} = {value}\n" for name, value in values.items()).encode()


def _plugins(settings: Settings) -> bytes:
    names = ["rabbitmq_management", *settings[ini.PLUGINS]]
    return f"[{','.join(names)}].\n".encode()
