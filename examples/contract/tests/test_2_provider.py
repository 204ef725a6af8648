"""The provider keeps what the pact says: a test, and a clean slate, for each interaction.

The state that an interaction asks for is made by factories, in the database that the provider, a
server in a thread, works in.
"""

import re
import socket
from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest
import uvicorn
from contract import PACT, interactions
from factories import OrderFactory, UserFactory
from orders.api import app
from pact import Verifier

pytestmark = pytest.mark.usefixtures("pg_url")


def user_has_orders() -> None:
    OrderFactory(user=UserFactory(id=123), total=7)


STATES = {"user 123 has orders": user_has_orders, "there is no user 404": lambda: None}


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """Serve the provider; whoever connects before uvicorn does is in the socket's queue."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize("interaction", interactions(), ids=lambda each: each["description"])
def test_the_provider_answers_as_agreed(provider: str, interaction: dict[str, Any]) -> None:
    for state in interaction["providerStates"]:
        STATES[state["name"]]()
    verifier = Verifier("orders", "127.0.0.1").add_transport(url=provider).add_source(PACT)
    # The states are there: what pact tells of them needs no answer.
    verifier.state_handler(lambda *_, **__: None, teardown=False)
    verifier.filter(f"^{re.escape(interaction['description'])}$").verify()
