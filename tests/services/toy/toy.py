"""What is known of the toy service before a test needs it."""

from pytest_berth.api import Service

TOY = Service(
    "toy",
    "toy_backend:Toy",
    version="1",
    packages=["toy_client"],
    fixtures=["toy_write", "toy_read"],
    fixture_module="toy_fixtures",
    usual_start=0.1,
)
