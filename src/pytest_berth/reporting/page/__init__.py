"""One page of a run, and the same as JSON: ``--berth-html``, ``--berth-json``."""
