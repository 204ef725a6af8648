"""Refuses to delete data in databases that are neither ours nor named by the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.errors import IsolationError
from pytest_berth.run.run import MAIN
from pytest_berth.services.postgres.options import ALLOW_RESET, DATABASE

if TYPE_CHECKING:
    from pytest_berth.api import Server
    from pytest_berth.run.plugin_state import PluginState
    from pytest_berth.services.postgres.isolation.choice import Isolation
    from pytest_berth.services.postgres.server.role_rights import Rights


def require(isolation: Isolation, server: Server, rights: Rights, berth: PluginState) -> None:
    """Refuse an isolation that would leave or delete data in a database that is not ours.

    Raises:
        IsolationError: The role cannot create databases, and the given one may not be reset.
    """
    if isolation.kind == "rollback" or rights.own_databases:
        return
    if isolation.kind == DATABASE:
        require_databases(server, rights)
    if not rights.may_reset(berth.settings[ALLOW_RESET]):
        raise _not_allowed(isolation, server.credentials.user, rights)
    if berth.run.worker != MAIN:
        raise _shared(isolation, server.credentials.user, rights)


def require_databases(server: Server, rights: Rights) -> None:
    """Refuse private databases where the role cannot create any.

    Raises:
        IsolationError: It cannot.
    """
    if not rights.own_databases:
        user = server.credentials.user
        raise IsolationError(
            "no private database can be made on this server.",
            why=f"{user!r} is a {rights} and cannot create databases",
            remedy=f"ALTER ROLE {user} CREATEDB\n"
            'or for this test: @pytest.mark.berth_pg(isolation="rollback")',
        )


def can_commit(rights: Rights, berth: PluginState) -> bool:
    """Tell whether what is committed can be put back."""
    if rights.own_databases:
        return True
    return rights.may_reset(berth.settings[ALLOW_RESET]) and berth.run.worker == MAIN


def _not_allowed(isolation: Isolation, user: str, rights: Rights) -> IsolationError:
    return IsolationError(
        f"isolation {isolation.kind!r} is not possible in the database {rights.database!r}.",
        why=f"{isolation.reason}; the database is not berth's, and its data must stay:"
        f" {user!r} is a {rights} and cannot create databases",
        remedy=f"ALTER ROLE {user} CREATEDB\n"
        f"or, if all its data may go: berth_pg_allow_reset = {rights.database}\n"
        'or for this test: @pytest.mark.berth_pg(isolation="rollback")',
    )


def _shared(isolation: Isolation, user: str, rights: Rights) -> IsolationError:
    return IsolationError(
        f"isolation {isolation.kind!r} is not possible in the database {rights.database!r}"
        " under xdist.",
        why=f"all workers share it, as {user!r} cannot create databases: they would delete each"
        " other's data",
        remedy=f"ALTER ROLE {user} CREATEDB\nor run without -n",
    )
