"""What S3 is to the plugin: its name, settings, fixtures and placeholders."""

from __future__ import annotations

from pytest_berth.config.common_options import TEST
from pytest_berth.config.descriptor import Dedicated, FromCompose, Service
from pytest_berth.services.s3 import options as ini

_OF_SESSION = ("namespace", "server", "url", "options", "storage_options", "bucket")

S3 = Service(
    "s3",
    "pytest_berth.services.s3.backend:S3",
    label="S3",
    version=ini.VERSION,
    image=ini.IMAGE,
    schemes=ini.SCHEMES,
    url=ini.URL,
    source=ini.SOURCE,
    scope=ini.SCOPE,
    port=ini.PORT,
    options=ini.OPTIONS,
    compose=FromCompose(
        images=("minio/minio", "rustfs/rustfs", "chrislusf/seaweedfs"),
        environment={"MINIO_REGION": ini.REGION, "MINIO_SITE_REGION": ini.REGION},
        accounts=(
            *("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD", "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"),
            *("RUSTFS_ACCESS_KEY", "RUSTFS_SECRET_KEY"),
        ),
        without_effect=(
            *("command", "TZ", "MINIO_ADDRESS", "MINIO_BROWSER", "MINIO_CONSOLE_ADDRESS"),
            *("MINIO_VOLUMES", "RUSTFS_ADDRESS", "RUSTFS_CONSOLE_ADDRESS"),
            *("RUSTFS_CONSOLE_ENABLE", "RUSTFS_VOLUMES"),
        ),
    ),
    extra="s3",
    packages=("boto3",),
    fixtures=(
        "s3_bucket",
        "s3_make_bucket",
        "s3_client",
        "s3_resource",
        "s3_async_client",
        "s3_options",
        "s3_storage_options",
    ),
    fixture_module="pytest_berth.services.s3.fixtures",
    address_help="Endpoint of the server, as ``AWS_ENDPOINT_URL`` takes it: ``http://127.0.0.1:19000``.",
    placeholders=(
        "s3_url",
        "s3_host",
        "s3_port",
        "s3_access_key",
        "s3_secret_key",
        "s3_region",
        "s3_bucket",
        "s3_prefix",
    ),
    marker=ini.MARKER,
    dedicated=Dedicated(
        ini.SCOPE,
        TEST,
        {
            f"{'_' * (name == 'namespace')}s3_{name}": f"_s3_dedicated_{name}"
            for name in _OF_SESSION
        },
    ),
    usual_start=3.0,
)
