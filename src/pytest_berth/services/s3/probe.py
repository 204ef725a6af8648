"""Whether a server answers, and what it is."""

from __future__ import annotations

from http.client import HTTPException
from typing import TYPE_CHECKING

from pytest_berth.errors import NotReadyError, StartError
from pytest_berth.services.s3.connection import (
    FORBIDDEN,
    Connection,
    ForeignServerError,
    RefusedError,
)

if TYPE_CHECKING:
    from pytest_berth.api import Server

_ANSWERS_WITHIN = 5.0


def probe(server: Server, region: str) -> str:
    """Connect once and return what the server says that it is, such as ``"SeaweedFS 4.53"``.

    Raises:
        NotReadyError: It does not answer yet.
        StartError: It refuses the keys that it is given, or is not the one that berth has started.
    """
    connection = Connection(server, region, answers_within=_ANSWERS_WITHIN)
    place = f"{server.host}:{server.port}"
    try:
        answer = connection.ask("GET")
    except ForeignServerError as error:
        if server.source == "container":  # it answers before it knows its keys
            raise NotReadyError(str(error)) from None
        raise StartError(
            f"the server at {place} is not berth's.",
            why=str(error),
            remedy="end the other server, or run again: berth then starts one at another port",
        ) from None
    except RefusedError as error:
        if server.source == "external" and error.status == FORBIDDEN:
            raise StartError(
                f"the server at {place} refuses the keys of berth_s3_url.",
                why=str(error),
                remedy="check key, secret and region in berth_s3_url",
            ) from None
        raise NotReadyError(str(error)) from None
    except (OSError, HTTPException) as error:
        raise NotReadyError(str(error) or type(error).__name__) from None
    finally:
        connection.close()
    return server.version or answer.headers.get("server", "?")
