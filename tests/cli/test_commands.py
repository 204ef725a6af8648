"""``pytest-berth`` itself: what it says of names that it does not know."""

from __future__ import annotations

import pytest

from pytest_berth.cli import commands


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "tell what is found on this machine"),
        (("dwon",), "there is no command 'dwon': did you mean 'down'?"),
        (("up", "--nmae", "demo"), "'--nmae' is not known: did you mean '--name'?"),
        (("prune", "--snapshot=1"), "ignored explicit argument"),
        (("seed", "a.sql", "-x"), "'-x' is not known: use one of: --help, --name, --service"),
        (("ps", "postgres"), "'postgres' is not known"),
        (("env", "--json", "--fish"), "not allowed with argument"),
    ],
)
def test_a_mistake_on_the_command_line_is_told(
    words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        commands.main(words)

    assert ended.value.code == 2
    assert told in capsys.readouterr().err
