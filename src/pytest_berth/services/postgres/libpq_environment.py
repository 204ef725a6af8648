"""Keeps libpq's variables, which a user has for other servers, away from berth's own.

Connections of berth's own state every parameter. The URLs that it gives state those that a variable
would set otherwise, so that they stay short where there is none. Of three variables no parameter
exists: they are taken out of the environment.
"""

from __future__ import annotations

import os
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

# A blank stands for nothing where an empty value would be left out of a URL.
_EVERYWHERE = {
    "PGSSLMODE": ("sslmode", "disable"),
    "PGREQUIRESSL": ("sslmode", "disable"),
    "PGCHANNELBINDING": ("channel_binding", "disable"),
    "PGGSSENCMODE": ("gssencmode", "disable"),
    "PGOPTIONS": ("options", " "),
    "PGTARGETSESSIONATTRS": ("target_session_attrs", "any"),
    "PGCLIENTENCODING": ("client_encoding", "utf8"),
}
# Parameters that not every libpq knows: those who set the variable have one that does.
_NEWER = {
    "PGREQUIREAUTH": ("require_auth", "password,md5,scram-sha-256"),
    "PGSSLNEGOTIATION": ("sslnegotiation", "postgres"),
    "PGMINPROTOCOLVERSION": ("min_protocol_version", "3.0"),
}
_SERVICE = ("PGSERVICE", "PGSERVICEFILE")
_ADDRESS = "PGHOSTADDR"
_OF_SESSIONS = ("PGTZ", "PGDATESTYLE", "PGGEQO")
# asyncpg takes what it does not know for a setting of the server, which refuses it.
_OF_ASYNCPG = {"sslmode", "target_session_attrs"}
_OTHERS = (
    *("PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGPASSFILE", "PGREQUIREPEER"),
    *("PGAPPNAME", "PGCONNECT_TIMEOUT", "PGLOADBALANCEHOSTS", "PGMAXPROTOCOLVERSION", "PGREALM"),
    *("PGSSLCERT", "PGSSLKEY", "PGSSLCERTMODE", "PGSSLROOTCERT", "PGSSLCRL", "PGSSLCRLDIR"),
    *("PGSSLSNI", "PGSSLCOMPRESSION", "PGSSLMINPROTOCOLVERSION", "PGSSLMAXPROTOCOLVERSION"),
    *("PGKRBSRVNAME", "PGGSSLIB", "PGGSSDELEGATION", "PGSSLKEYLOGFILE", "PGSYSCONFDIR"),
    *("PGOAUTHDEBUG", "PGDATA"),
)
VARIABLES = frozenset(
    {*_EVERYWHERE, *_NEWER, *_SERVICE, _ADDRESS, *_OF_SESSIONS, *_OTHERS},
)


def own_parameters(host: str) -> dict[str, str]:
    """Return the parameters of berth's own connections to a server that it has started."""
    return {**dict(_EVERYWHERE.values()), **_named(_NEWER), "hostaddr": _address(host)}


def given_parameters(host: str, driver: str) -> dict[str, str]:
    """Return the parameters that a URL has to state, as the environment would set others.

    Args:
        host: Where the server is.
        driver: The driver's name in the URL; empty where the reader is not known.
    """
    by_service = any(map(os.environ.get, _SERVICE))
    found = dict(_EVERYWHERE.values()) if by_service else _named(_EVERYWHERE)
    found |= _named(_NEWER)
    if by_service or os.environ.get(_ADDRESS):
        found["hostaddr"] = _address(host)
    if driver == "asyncpg":
        return {name: value for name, value in found.items() if name in _OF_ASYNCPG}
    return found


def forget_session_variables(environment: MutableMapping[str, str]) -> None:
    """Take out of the environment what colours every session, and no parameter can state."""
    for name in _OF_SESSIONS:
        environment.pop(name, None)


def without_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment that says nothing of servers."""
    return {name: value for name, value in environment.items() if name not in VARIABLES}


def _named(variables: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    return dict(pair for name, pair in variables.items() if name in os.environ)


def _address(host: str) -> str:
    try:
        return str(ip_address(host))
    except ValueError:
        return socket.gethostbyname(host)
