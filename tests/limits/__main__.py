"""Write the page of the documentation: ``python -m tests.limits``."""

from tests.limits.page import PATH, text

PATH.write_text(text(), "utf-8")
