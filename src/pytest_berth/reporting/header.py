"""The lines above the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth import manifest
from pytest_berth.config.options import describe

if TYPE_CHECKING:
    from pytest_berth.run.plugin_state import PluginState


def header(berth: PluginState, verbosity: int) -> list[str]:
    """Return what is set and where; with ``-vv`` a line each, with ``-vvv`` also the defaults."""
    shown = [
        describe(name, setting)
        for name, setting in berth.settings.values.items()
        if verbosity >= 3 or setting.origin != "default"
    ]
    if berth.not_exported:
        shown.append(f"berth_export is not set: {berth.not_exported}")
    declared = [f"berth: {berth.declared}"] if berth.declared else []
    if verbosity >= 2 and shown:
        return ["berth:", *(f"  {line}" for line in shown), *declared]
    return [f"berth: {', '.join(shown)}" if shown else manifest.NOTHING_SET, *declared]
