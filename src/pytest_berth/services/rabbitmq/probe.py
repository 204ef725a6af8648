"""Whether a server answers, and what it is."""

from __future__ import annotations

import http.client
from contextlib import closing
from socket import create_connection
from typing import TYPE_CHECKING

from pytest_berth.errors import NoSourceError, NotReadyError, StartError
from pytest_berth.services.rabbitmq import management, urls
from pytest_berth.services.rabbitmq import options as ini
from pytest_berth.services.rabbitmq.management import (
    ApiRefusedError,
    ForeignServerError,
    Management,
)

if TYPE_CHECKING:
    from pytest_berth.api import Server

_ANSWERS_WITHIN = 5.0


def probe(server: Server) -> str:
    """Ask the management API, open a connection of AMQP, and return the version: ``"4.1.0"``.

    Raises:
        NotReadyError: It does not answer yet.
        StartError: It is not the server that berth has started.
        NoSourceError: An external server refuses the account, or has no management API.
    """
    import pika.exceptions

    from pytest_berth.services.rabbitmq import amqp

    try:
        # First without pika, which logs an error each time that nobody listens.
        with create_connection((server.host, server.port), timeout=_ANSWERS_WITHIN):
            version = _version(server)
        if server.source != "external":
            amqp.connect(server, "/", _ANSWERS_WITHIN).close()
    except ForeignServerError as error:
        raise StartError(
            f"the server at {server.host}:{server.port} is not berth's.",
            why=str(error),
            remedy="end the other server, or run again: berth then starts one at another port",
        ) from None
    except (OSError, http.client.HTTPException, pika.exceptions.AMQPError) as error:
        told = f"{type(error).__name__}: {error}"
        raise NotReadyError(told) from error
    return version


def _version(server: Server) -> str:
    is_external = server.source == "external"
    is_ours = (lambda ask: True) if is_external else management.of_started(server, starts=True)
    with closing(Management(server, is_ours, _ANSWERS_WITHIN)) as api:
        try:
            return str(api.ask(management.get("overview"))["rabbitmq_version"])
        except ApiRefusedError as error:
            refused = error
        except ValueError as error:
            refused = ApiRefusedError(management.get("overview"), 200, str(error))
        except ForeignServerError:
            raise
        except (OSError, http.client.HTTPException) as error:
            place = urls.management_url(server)
            told = f"the management API at {place}: {type(error).__name__}: {error}"
            raise NotReadyError(told) from error
    if not is_external:
        raise NotReadyError(refused.why)
    if refused.status in management.FORBIDDEN:
        place = f"{server.host}:{server.port}"
        raise NoSourceError(
            f"the RabbitMQ at {place} refuses the account of berth_rabbitmq_url.",
            why=refused.why,
            remedy=f"check user and password in {ini.URL.name}; the account needs the tag"
            " administrator",
        )
    raise NoSourceError(
        f"the management API of RabbitMQ does not answer at {urls.management_url(server)}.",
        why=refused.why,
        remedy=f"enable the plugin rabbitmq_management, or set {ini.MANAGEMENT_URL.name}",
    )
