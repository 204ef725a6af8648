"""Private names of other packages, in one module for each package, and nowhere else.

``tests/unit/test_compat.py`` fails when one of these names goes. Nothing here imports the package
that it is about before a function is called.
"""
