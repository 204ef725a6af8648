"""``berth_django``: a Django project's databases are berth's, also without pytest-django."""
