"""The demo's one picture: what each kind of work costs on Ferrio, in parts of what it costs on asyncio."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from figures import Comparison

OURS, LITTLE, THEIRS, INK, FAINT = "#c2410c", "#e0a58a", "#64748b", "#1e293b", "#e2e8f0"
#: From this ratio on a bar is pale: it is no reason to change the loop.
HARDLY_ANY_GAIN = 0.9
#: What the axis ends at; a bar that is longer ends there and has its figure.
END = 1.25


def plot(groups: Sequence[Sequence[Comparison]], first: str, second: str, notes: Sequence[str], file: Path) -> None:
    """A bar for each row, a whisker from its best to its worst round; the *groups* that gain most come first."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    mpl.rcParams.update({"font.size": 10.5, "text.color": INK, "xtick.color": THEIRS, "ytick.color": INK})
    rows: list[tuple[float, Comparison]] = []
    place = 0.0
    for group in sorted(groups, key=lambda group: min(row.ratio for row in group)):
        rows += [(place + number, row) for number, row in enumerate(group)]
        place += len(group) + 0.6
    figure, axis = plt.subplots(figsize=(11, 1.9 + 0.36 * place))
    for at, row in rows:
        gains = row.ratio < HARDLY_ANY_GAIN
        axis.barh(at, min(row.ratio, END), 0.74, color=OURS if gains else LITTLE, zorder=2)
        axis.plot([min(row.ratios), min(max(row.ratios), END)], [at, at], color=INK, linewidth=1, zorder=3)
        ours, theirs = row.costs
        axis.text(END + 0.02, at, f"{row.ratio:.2f}", va="center", ha="left", fontweight="bold" if gains else "normal")
        axis.text(END + 0.15, at, f"{ours} | {theirs} {row.unit}", va="center", ha="left", color=THEIRS)
    axis.axvline(1, color=THEIRS, linewidth=1.2, zorder=4)
    axis.text(1, -1.05, second, ha="center", va="bottom", color=THEIRS)
    axis.text(END + 0.02, -1.05, "ratio", va="bottom", color=THEIRS)
    axis.text(END + 0.15, -1.05, f"{first} | {second}", va="bottom", color=THEIRS)
    axis.set_yticks([at for at, _ in rows], [row.label for _, row in rows])
    axis.set_ylim(place - 0.9, -1.0)
    axis.set_xlim(0, END)
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1.0, 1.25])
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_xlabel(f"cost on {first}, in parts of that on {second}; less is better", color=THEIRS)
    axis.tick_params(length=0)
    axis.grid(axis="x", color=FAINT, zorder=0)
    axis.spines[:].set_visible(False)
    title = f"What one gains: CPU time and memory on {first} and on {second}"
    figure.text(0.012, 0.985, title, fontsize=14, fontweight="bold", va="top")
    small = "\n".join(textwrap.fill(note, 165) for note in notes)
    figure.text(0.012, 0.012, small, fontsize=8.5, color=THEIRS, va="bottom")
    inch = 1 / figure.get_figheight()
    figure.tight_layout(rect=(0, (0.1 + 0.15 * (small.count("\n") + 1)) * inch, 1, 1 - 0.35 * inch))
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150, bbox_inches="tight", pad_inches=0.15)
    plt.close(figure)
