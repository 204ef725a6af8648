"""The documentation's schema registry, with messages in Avro, is a line of `berth_services`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from images_here import has_image

if TYPE_CHECKING:
    from conftest import Project

EXAMPLE = Path(__file__).parents[3] / "docs/examples/schema_registry"
IMAGE = "apicurio/apicurio-registry-mem:2.6.13.Final"


@pytest.mark.skipif(not has_image(IMAGE), reason=f"no image {IMAGE}: see tests/provision.py")
def test_schemas_are_registered_and_gone_after_each_test(project: Project) -> None:
    pytest.importorskip("fastavro")
    shutil.copytree(EXAMPLE, project.root, dirs_exist_ok=True)
    project.run().assert_outcomes(passed=3)
