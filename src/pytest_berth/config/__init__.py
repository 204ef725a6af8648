"""Options, markers and exports: what is set, and where it was set."""
