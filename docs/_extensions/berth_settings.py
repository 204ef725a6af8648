"""The directive ``berth-settings``: a table of ini options, made from the options themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from settings_table import GROUPS, table
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx


class SettingsTable(SphinxDirective):
    """Shows the options of the group that its argument names."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        return self.parse_text_to_nodes(table(GROUPS[self.arguments[0]]))


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive."""
    app.add_directive("berth-settings", SettingsTable)
    return {"parallel_read_safe": True}
