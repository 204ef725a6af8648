"""Servers that stay for the next run of the same project, for as long as ``berth_keep`` says.

A kept server is known by its record, a file of this user's. Three take part in its life:

- a run takes it over and makes it clean, or starts it and lets it be known, and uses it alone;
- the reuse reaper, a small process, ends it when its time is over and nobody uses it;
- a person ends it: ``--berth-stop``, ``pytest-berth prune``.

Whatever changes a record, or ends its server, holds the record's lock and reads the record again
under it. Who uses the server stands in the record: the directory of a run. That the run lives is
proved as for all runs, by pid and start time, or by locks: so the server is free the moment its run
is gone, whatever has ended it, though xdist's workers come and go meanwhile.
"""
