"""Bars on a logarithmic scale, as text and as a picture: the candidates differ by factors."""

from __future__ import annotations

from dataclasses import dataclass
from math import log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WIDTH = 50
OURS, OTHERS = "#2a6fdb", "#b9bec7"


@dataclass(frozen=True)
class Bar:
    """A candidate's median.

    Attributes:
        group: What the candidates next to it are compared on, such as ``20 tables``.
        label: The candidate's name.
        seconds: Its median.
    """

    group: str
    label: str
    seconds: float

    @property
    def is_ours(self) -> bool:
        """Whether the bar stands for pytest-berth."""
        return self.label.startswith("pytest-berth")


def text(bars: Sequence[Bar]) -> str:
    """Return the bars in lines of text, under the name of each group."""
    lowest, width = _scale(bars), max(len(bar.label) for bar in bars)
    factor = WIDTH / max(log10(bar.seconds / lowest) for bar in bars)
    lines, group = [], ""
    for bar in bars:
        if bar.group != group:
            lines += [*[""] * bool(group), bar.group]
        group = bar.group
        length = max(1, round(factor * log10(bar.seconds / lowest)))
        block = "█" if bar.is_ours else "▒"
        lines.append(f"  {bar.label:{width}} {block * length} {bar.seconds * 1000:.1f} ms")
    return "\n".join(lines)


def picture(title: str, bars: Sequence[Bar], path: Path) -> None:
    """Draw the bars, one plot for each group, into a PNG file."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    groups = list(dict.fromkeys(bar.group for bar in bars))
    height = 0.9 + 0.32 * len(bars) + 0.5 * len(groups)
    figure, plots = plt.subplots(
        len(groups), 1, sharex=True, squeeze=False, figsize=(9, height), layout="constrained"
    )
    for group, (plot,) in zip(groups, plots, strict=True):
        within = [bar for bar in bars if bar.group == group][::-1]
        drawn = plot.barh(
            [bar.label for bar in within],
            [bar.seconds * 1000 for bar in within],
            color=[OURS if bar.is_ours else OTHERS for bar in within],
        )
        plot.bar_label(drawn, fmt="%.1f ms", padding=3)
        plot.set_xscale("log")
        plot.set_title(group, loc="left", fontsize=10)
        plot.margins(x=0.15)
        plot.spines[["top", "right"]].set_visible(False)
    plots[-1][0].set_xlabel("milliseconds, logarithmic: less is better")
    figure.suptitle(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _scale(bars: Sequence[Bar]) -> float:
    """Return where the bars begin: a little below the shortest."""
    return min(bar.seconds for bar in bars) / 2
