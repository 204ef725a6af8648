"""Whether a server answers, and what it is; a new one is made ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo.errors import OperationFailure, PyMongoError

from pytest_berth.errors import NotReadyError, StartError
from pytest_berth.services.mongodb import clients, urls

if TYPE_CHECKING:
    from pytest_berth.api import Server

_ANSWERS_WITHIN = 5.0
_ALREADY_INITIALIZED = 23
# Authentication failed; the second is that of hosted servers.
REFUSED = {18, 8000}


def probe(server: Server) -> str:
    """Connect once and return the server's version, such as ``"8.0.4"``.

    A server that berth has started is told to become the primary of its set, and given its account.

    Raises:
        NotReadyError: It does not answer, or no transaction can be written yet.
        StartError: It refuses the account, or is not the server that berth has started.
    """
    try:
        with clients.closing(clients.berths_own(server, answers_within=_ANSWERS_WITHIN)) as client:
            try:
                return _version(client, server)
            except OperationFailure as error:
                if error.code not in REFUSED:
                    raise
                if server.source != "local":
                    raise _refused(server, error) from None
        _give_account(server)
    except PyMongoError as error:
        raise NotReadyError(" ".join(str(error).split("(configured timeouts")[0].split())) from None
    raise NotReadyError("its account has just been made")


def _version(client: clients.Client, server: Server) -> str:
    _become_primary(client, server)
    told = client.admin.command("buildInfo")
    ferretdb = told.get("ferretdbVersion") or told.get("ferretdb", {}).get("version")
    return f"{told['version']} (FerretDB {ferretdb})" if ferretdb else str(told["version"])


def _become_primary(client: clients.Client, server: Server) -> None:
    """Return where the server is a writable primary, or a server that has no set.

    A set of another name than the server was started with cannot be initiated, so that no other
    server is changed.
    """
    hello = client.admin.command("hello")
    if server.source != "external":
        _require_ours(server, hello)
        if hello.get("isreplicaset"):
            _initiate(client, server)
    if not hello.get("isWritablePrimary"):
        raise NotReadyError(f"it is no writable primary yet: {hello.get('info', 'no election')}")


def _initiate(client: clients.Client, server: Server) -> None:
    # The member has to find itself there, inside of its container.
    is_inside = server.source == "container" and not server.credentials.given
    member = f"127.0.0.1:{urls.USUAL_PORT if is_inside else server.port}"
    config = {
        "_id": server.credentials.token,
        "members": [{"_id": 0, "host": member}],
        # What a majority has acknowledged need not have reached a disk.
        "writeConcernMajorityJournalDefault": False,
    }
    try:
        client.admin.command("replSetInitiate", config)
    except OperationFailure as error:
        if error.code != _ALREADY_INITIALIZED:
            raise


def _give_account(server: Server) -> None:
    """Make the only account of a local server that has none: it lets this machine do so once."""
    with clients.closing(clients.without_account(server, _ANSWERS_WITHIN)) as client:
        _become_primary(client, server)
        account = server.credentials
        try:
            client.admin.command("createUser", account.user, pwd=account.password, roles=["root"])
        except OperationFailure as error:
            raise _refused(server, error) from None


def _require_ours(server: Server, hello: dict[str, Any]) -> None:
    """Refuse a server of another set, or of none; one that is in none yet refuses a wrong name."""
    name = hello.get("setName", "")
    if name != server.credentials.token and not hello.get("isreplicaset"):
        raise StartError(
            f"the server at {server.host}:{server.port} is not berth's.",
            why=f"it says that its replica set is {name!r}: nothing was done on it",
            remedy="end the other server, or run again: berth then starts one at another port",
        )


def _refused(server: Server, error: OperationFailure) -> StartError:
    if server.source == "external":
        return StartError(
            f"the server at {server.host}:{server.port} refuses the account of berth_mongo_url.",
            why=_message(error),
            remedy="check user, password and authSource in berth_mongo_url",
        )
    return StartError(
        f"the server at {server.host}:{server.port} refuses berth's account.",
        why=_message(error),
        remedy=f"check port {server.port}: another server may be listening there",
    )


def _message(error: OperationFailure) -> str:
    return str((error.details or {}).get("errmsg", error))
