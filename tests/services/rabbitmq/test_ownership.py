"""Whose server and whose virtual hosts they are: those of others are left alone."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

import pika
import pytest

from pytest_berth.errors import NotOursError
from pytest_berth.services.rabbitmq import management, urls, vhosts
from pytest_berth.services.rabbitmq.management import ForeignServerError, Management

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Project

    from .conftest import Outer

LONG_AGO = "made at 1000"


@pytest.fixture
def names(outer: Outer) -> Iterator[dict[str, str]]:
    """Names of virtual hosts of this very test, by what they are for; removed after it."""
    run, living = os.urandom(4).hex(), os.urandom(4).hex()
    made = {
        "dead": f"berth_{run}_main",
        "young": f"berth_{os.urandom(4).hex()}_main",
        "living": f"berth_{living}_gw0",
        "living, unused": f"berth_{living}_gw1",
        "of somebody": f"berth_{run}_other",
    }
    yield made
    for name in made.values():
        if name in outer.vhosts():
            outer.ask("DELETE", f"/vhosts/{name}")


def test_only_what_dead_runs_have_left_is_removed(
    served: Project, outer: Outer, names: dict[str, str]
) -> None:
    """By the tags, by age, and by whether anybody of their run is connected."""

    def make(name: str, description: str, tags: str) -> None:
        outer.ask("PUT", f"/vhosts/{name}", {"description": description, "tags": tags})
        allowed = {"configure": ".*", "write": ".*", "read": ".*"}
        outer.ask("PUT", f"/permissions/{name}/{outer.server.credentials.user}", allowed)

    def tags(name: str) -> str:
        return f"pytest-berth,pytest-berth-{name.split('_')[1]}"

    for kind in ("dead", "living", "living, unused"):
        make(names[kind], LONG_AGO, tags(names[kind]))
    with closing(Management(outer.server, lambda ask: True)) as api:
        api.server_time()
        make(names["young"], f"made at {api.server_time():.0f}", tags(names["young"]))
    make(names["of somebody"], LONG_AGO, "production")
    served.write(
        test_it="""
            def test_it(rabbitmq_channel, rabbitmq_url):
                open("own.txt", "w").write(rabbitmq_url.rpartition("/")[2])
        """
    )
    url = urls.url(outer.server, names["living"])
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        connection.channel()
        served.run().assert_outcomes(passed=1)
    left = outer.vhosts()
    assert {kind for kind, name in names.items() if name not in left} == {"dead"}
    assert (served.root / "own.txt").read_text() not in left


def test_a_virtual_host_of_others_is_neither_taken_nor_worked_on(
    outer: Outer, names: dict[str, str]
) -> None:
    """Though it has the name that the run would take."""
    outer.ask("PUT", f"/vhosts/{names['of somebody']}", {"tags": "production"})
    told = pytest.raises(NotOursError, match="is not this run's")
    with closing(Management(outer.server, lambda ask: True)) as api, told:
        vhosts.make(api, outer.server, names["of somebody"], "abc")
    is_ours = vhosts.has(names["of somebody"], "abc")
    with closing(Management(outer.server, is_ours)) as api, pytest.raises(ForeignServerError):
        api.ask(management.delete("vhosts", names["of somebody"]))
    assert names["of somebody"] in outer.vhosts()


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("URL", "amqp://berth:wrong@{place}", "* refuses the account of berth_rabbitmq_url.*"),
        (
            "MANAGEMENT_URL",
            "http://{place}",
            "*the management API at http://*",
        ),
        ("VERSION", "2", "*there is no RabbitMQ 2 on this machine.*"),
    ],
)
def test_a_server_that_cannot_serve_is_told(
    setting: str, value: str, told: str, served: Project, outer: Outer
) -> None:
    """What is wrong, and what to set."""
    place = f"{outer.server.host}:{outer.server.port}"
    environment = {f"BERTH_RABBITMQ_{setting}": value.format(place=place)}
    if setting == "VERSION":
        environment |= {"BERTH_RABBITMQ_URL": "", "BERTH_RABBITMQ_SOURCE": "local"}
    served.ini("berth_start_timeout = 5")
    served.write(test_it="def test_it(rabbitmq_url): pass")
    result = served.run(**environment)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([told])
