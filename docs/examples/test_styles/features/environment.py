import os

import pytest_berth
from behave import fixture, use_fixture


@fixture
def servers(context):
    with pytest_berth.servers("postgres") as context.servers:
        os.environ.update(context.servers.environment)
        yield


@fixture
def clean_slate(context):
    with context.servers.isolated():
        yield


def before_all(context):
    use_fixture(servers, context)


def before_scenario(context, scenario):
    use_fixture(clean_slate, context)
