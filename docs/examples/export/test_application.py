import pytest

import app


@pytest.mark.parametrize("run", ["first", "second"])
def test_visits_are_counted_from_one(run):
    assert [app.visit(), app.visit()] == [1, 2]
