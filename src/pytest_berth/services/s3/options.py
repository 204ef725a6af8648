"""The ini options of S3."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_berth.config import common_options as common
from pytest_berth.config.descriptor import Marker
from pytest_berth.config.options import Option, text, words

if TYPE_CHECKING:
    from collections.abc import Sequence

PREFIX_PLACEHOLDER = "{s3_prefix}"
SCHEMES = ("s3+http", "s3+https")
REGION_PARAMETER = "region"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_URL = "use a URL such as s3+http://key:secret@host:9000, or s3+https://"


def _image(value: str) -> str:
    from pytest_berth.services.s3.images import KINDS

    image = value.strip()
    if image and not any(kind in image.lower() for kind in KINDS):
        raise ValueError(f"use an image with one of {', '.join(KINDS)} in its name")
    return image


def _url(value: str) -> str:
    from urllib.parse import parse_qs, urlsplit

    given = value.strip()
    try:
        parts = urlsplit(given)
        usable = parts.scheme in SCHEMES and parts.hostname and parts.port != 0
    except ValueError:  # the port is no number, or a bracket is missing
        usable = False
    if given and not (usable and parts.username and parts.password):
        raise ValueError(f"{_URL}; what is no letter or digit in key or secret percent-encoded")
    if given and (parts.path.strip("/") or parts.fragment or not _knows(parse_qs(parts.query))):
        raise ValueError(f"{_URL}, without path; ?region=eu-west-1 may follow")
    return given


def _knows(query: dict[str, list[str]]) -> bool:
    return set(query) <= {REGION_PARAMETER}


def _buckets(value: Sequence[str]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(words(value)))
    for name in names:
        if not _BUCKET.fullmatch(name.replace(PREFIX_PLACEHOLDER, "x", 1)):
            raise ValueError(
                "use 3 to 63 small letters, digits, dots and - for a bucket, which may begin with"
                f" {PREFIX_PLACEHOLDER}, not {name!r}"
            )
    return names


VERSION: Option[str] = Option(
    "berth_s3_version", text, "4.53", "version of SeaweedFS, the default image's tag"
)
IMAGE: Option[str] = Option(
    "berth_s3_image",
    _image,
    "",
    "image of the container, such as rustfs/rustfs:latest, or one of MinIO (default"
    " chrislusf/seaweedfs:<version>)",
)
URL: Option[str] = Option(
    "berth_s3_url",
    _url,
    "",
    "URL of an S3 that is there already: s3+https://key:secret@host; tests work in buckets of"
    " their own",
)
SOURCE = common.source("s3", "S3")
SCOPE = common.scope("s3", "server")
PORT = common.port("s3", "server", 9000)
REGION: Option[str] = Option(
    "berth_s3_region", text, "us-east-1", "region that clients sign for (default us-east-1)"
)
BUCKETS: Option[tuple[str, ...]] = Option(
    "berth_s3_buckets",
    _buckets,
    (),
    "buckets that the application uses, created before the tests: fixed names, or with several"
    f" workers {PREFIX_PLACEHOLDER}uploads",
    type="linelist",
)
OPTIONS: tuple[Option[Any], ...] = (
    VERSION,
    IMAGE,
    URL,
    SOURCE,
    SCOPE,
    PORT,
    REGION,
    BUCKETS,
)


class S3Marker(NamedTuple):
    """What ``@pytest.mark.berth_s3`` says about a test."""

    scope: str | None = None


def berth_s3(*, scope: str | None = None) -> S3Marker:
    """Take the arguments of ``@pytest.mark.berth_s3``.

    Args:
        scope: ``test`` for a server of the test's own.
    """
    return S3Marker(scope)


MARKER = Marker(
    berth_s3,
    "berth_s3(scope=None): scope='test' gives the test an S3 server of its own, with all bucket"
    " names free",
)
