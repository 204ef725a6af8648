"""``berth_compose``: the services of a project's own Compose files."""
