"""Write the page of the documentation: ``PYTHONPATH=tests python -m limit_tables``."""

from limit_tables.page import PATH, text

PATH.write_text(text(), "utf-8")
