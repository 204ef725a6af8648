"""Projects whose S3 is moto's server, or a server that is there already."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_berth.services.s3 import launch

if TYPE_CHECKING:
    from conftest import Project

# What a bucket holds, as its tests compare it.
LOOK = """
def look(client):
    found = {}
    for bucket in client.list_buckets()["Buckets"]:
        name = bucket["Name"]
        told = client.list_object_versions(Bucket=name)
        found[name] = {
            "versions": [(v["Key"], v["ETag"], v["IsLatest"]) for v in told.get("Versions", [])],
            "markers": [(m["Key"], m["IsLatest"]) for m in told.get("DeleteMarkers", [])],
            "uploads": len(client.list_multipart_uploads(Bucket=name).get("Uploads", [])),
            "status": client.get_bucket_versioning(Bucket=name).get("Status"),
        }
    return found
"""


@pytest.fixture
def moto(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose S3 is a local process, and a module that tells what is there."""
    problem = launch.local_obstacle()
    if problem:
        pytest.skip(str(problem))
    monkeypatch.setenv("BERTH_S3_SOURCE", "local")
    project.write(looking=LOOK)
    project.ini()
    return project
