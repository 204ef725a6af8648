"""Whether a server answers, and what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.errors import NotReadyError, StartError
from pytest_berth.services.elasticsearch.rest import (
    CONNECTION_ERRORS,
    ForeignServerError,
    RequestRefusedError,
    connected,
)

if TYPE_CHECKING:
    from pytest_berth.api import Server

_ANSWERS_WITHIN = 5.0
_FORBIDDEN = {401, 403}


def probe(server: Server, label: str) -> str:
    """Connect once and return the server's version, such as ``"8.19.4"``.

    Raises:
        NotReadyError: It does not answer yet, or has no cluster yet.
        StartError: It refuses the account, or is not the server that berth has started.
    """
    place = f"{server.host}:{server.port}"
    try:
        with connected(server, answers_within=_ANSWERS_WITHIN) as rest:
            told = rest.about()
            rest.get("/_cluster/state/version?filter_path=version")  # wants a master
            return str(told["version"]["number"])
    except ForeignServerError as error:
        raise StartError(
            f"the server at {place} is not berth's.",
            why=str(error),
            remedy="end the other server, or run again: berth then starts one at another port",
        ) from None
    except RequestRefusedError as error:
        if error.status not in _FORBIDDEN:
            raise NotReadyError(str(error)) from None
        raise StartError(
            f"the server at {place} refuses the account of berth_{server.service}_url.",
            why=str(error),
            remedy="check user and password there; the account needs the"
            " cluster's privilege 'monitor', and 'all' for indices, templates and pipelines",
        ) from None
    except (KeyError, TypeError, ValueError) as error:
        raise StartError(
            f"the server at {place} is no {label}.",
            why=f"its answer to GET / is not one of {label}: {type(error).__name__}: {error}",
            remedy=f"check berth_{server.service}_url",
        ) from None
    except CONNECTION_ERRORS as error:
        raise NotReadyError(" ".join(str(error).split()) or type(error).__name__) from None
