"""Binds the factories that a setting names to the session of the test that runs."""
