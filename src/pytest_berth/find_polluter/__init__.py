"""``--berth-find-polluter``: which earlier test makes one fail, found by ever smaller runs."""
