"""Buckets of fixed names: which servers can have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.config.common_options import RUN
from pytest_berth.config.options import SOURCE
from pytest_berth.errors import SettingsError
from pytest_berth.run.plugin_state import PLUGIN_STATE
from pytest_berth.services.s3 import options as ini

if TYPE_CHECKING:
    import pytest


def check(config: pytest.Config) -> None:
    """Check that the buckets which the settings name can be each worker's own.

    Raises:
        SettingsError: Several workers would share a bucket, or it might be another's.
    """
    berth = config.stash[PLUGIN_STATE]
    settings = berth.settings
    fixed = [name for name in settings[ini.BUCKETS] if ini.PREFIX_PLACEHOLDER not in name]
    if not fixed:
        return
    own = f"{ini.BUCKETS.name} = {ini.PREFIX_PLACEHOLDER}{fixed[0]}"
    told = f"berth_export = BUCKET = {ini.PREFIX_PLACEHOLDER}{fixed[0]}"
    is_given = settings[ini.SOURCE] or settings[SOURCE]
    if settings[ini.URL] and is_given in {"auto", "external"}:
        raise SettingsError(
            f"the bucket {fixed[0]!r} cannot be the tests' on a server that is given by URL.",
            why=f"{settings.given(ini.BUCKETS)}; {settings.given(ini.URL)}: it may be another's,"
            " and tests empty their buckets",
            remedy=f"{own}\n{told}\nor let berth start a server: {ini.SOURCE.name} = container"
            " (or local)",
        )
    if berth.run.workers > 1 and settings[ini.SCOPE] == RUN:
        raise SettingsError(
            f"several workers cannot work in one bucket {fixed[0]!r}.",
            why=f"{settings.given(ini.BUCKETS)}; {berth.run.workers} workers (xdist's -n) share"
            " a server",
            remedy=f"{own}\n{told}\nor {ini.SCOPE.name} = worker  # each worker has a server of"
            " its own",
        )
