"""The servers outside a run of pytest: for scripts, notebooks, other test runners, the command."""
