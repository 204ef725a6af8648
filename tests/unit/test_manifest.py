"""What pytest is told of our services, without a look at them, is what they are."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path
from typing import Any

from pytest_berth import manifest

WRITER = Path(__file__).parents[2] / "tools/write_manifest.py"


def writer() -> Any:
    """Return the tool that writes the manifest."""
    spec = importlib.util.spec_from_file_location(WRITER.stem, WRITER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_manifest_is_what_the_descriptors_say() -> None:
    written = Path(manifest.PATH).read_text("utf-8")
    assert written == writer().made(), "python tools/write_manifest.py"


def test_a_deferred_fixture_asks_for_what_its_function_takes() -> None:
    (service,) = (each for each in manifest.read()["services"] if each["name"] == "redis")
    plugin = manifest.fixture_plugin(service, lambda *_: lambda **given: given)
    client = plugin.redis_client.__wrapped__
    asked = ["_redis_isolation", "_redis_namespace", "redis_url"]
    assert [*inspect.signature(client).parameters] == asked
    assert client.__module__ == "pytest_berth.services.redis.fixtures"
    (given,) = client(_redis_isolation=None, _redis_namespace=None, redis_url="redis://")
    assert given == {"_redis_isolation": None, "_redis_namespace": None, "redis_url": "redis://"}
