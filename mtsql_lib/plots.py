"""Figures of the papers' stories: one message each, made from plain values or rows; nothing here computes
results.

Every function returns a matplotlib Figure whose label is a sentence that says in words what is drawn (`svg`
makes it the alt text). A title states a message only if the data holds it, else it names what is shown. The
palette is Okabe and Ito's, which colour-blind readers can tell apart. What was left out: anything
interactive.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import TYPE_CHECKING

from mtsql_lib.evaluation import Measure, Part, abilities, per_hardness, per_turn, recovery
from mtsql_lib.rewards import EXECUTE_WEIGHT, MEMORY_WEIGHT, PROPOSE_WEIGHT, RewardBreakdown
from mtsql_lib.rows import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mtsql_lib.sampling import RoundCounts
    from mtsql_lib.statistics import Interval

Points = Sequence[tuple[int, float]]

BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8A8A8A"
)  # fmt: skip
PALETTE = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GREY)
_STYLE = {
    "figure.dpi": 110, "font.size": 10, "axes.titlesize": 11, "axes.titlelocation": "left",
    "axes.titlepad": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#E4E4E4", "axes.axisbelow": True, "legend.frameon": False, "lines.linewidth": 1.8,
    "svg.hashsalt": "mtsql", "svg.fonttype": "path",
}  # fmt: skip


@contextmanager
def styled(width: float = 6.4, height: float = 3.2) -> Iterator[tuple[Figure, Axes]]:
    """The one style: a figure in inches with one pair of axes, closed to pyplot so that it is shown once."""
    import matplotlib.pyplot as plt

    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
        try:
            yield figure, axes
            figure.draw_without_rendering()  # the style holds inside this context only
        finally:
            plt.close(figure)


def svg(figure: Figure) -> str:
    """The figure as an SVG element, the same bytes for the same figure, with its sentence for screen
    readers.
    """
    import matplotlib as mpl

    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "mtsql"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    body = text.getvalue()
    return body[body.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{_quoted(figure)}"', 1)


def _quoted(figure: Figure) -> str:
    from html import escape

    return escape(figure.get_label(), quote=True)


# Sampling and fine-tuning


def success_histogram(successes: Mapping[str, int], samples: int) -> Figure:
    """How many questions had 0, 1, ... `samples` valid samples; the ends are what a round cannot learn
    from.
    """
    counts = [sum(n == k for n in successes.values()) for k in range(samples + 1)]
    solved = len(successes) - counts[0]
    with styled() as (figure, axes):
        colours = [GREY, *[BLUE] * (samples - 1), GREEN]
        bars = axes.bar(range(samples + 1), counts, color=colours)
        axes.bar_label(bars, labels=[str(c) if c else "" for c in counts], padding=2)
        axes.margins(y=0.12)
        axes.set(xlabel=f"valid samples out of {samples}", ylabel="questions", xticks=range(samples + 1))
        axes.set_title(
            f"{solved} of {len(successes)} questions are solved at least once, {counts[-1]} always"
        )
    return _told(figure, f"Questions by valid samples, from 0 to {samples}: {_listed(counts)}.")


def kept_by_rule(counts: RoundCounts) -> Figure:
    """What a round's selection keeps of its episodes: all, valid, kept by each rule."""
    rules = {f"kept: {rule} ones": n for rule, n in sorted(counts.by_rule.items())}
    bars = {"sampled": counts.episodes, "valid (EX and EM)": counts.valid, **rules}
    colours = [GREY, SKY, *PALETTE]
    with styled(height=0.9 + 0.45 * len(bars)) as (figure, axes):
        drawn = axes.barh(list(bars), list(bars.values()), color=colours[: len(bars)])
        axes.bar_label(drawn, padding=3)
        axes.invert_yaxis()
        axes.grid(visible=False)
        axes.set(xlabel="episodes", xlim=(0, 1.12 * max(bars.values(), default=1) or 1))
        axes.set_title(f"{counts.kept} of {counts.episodes} trajectories are kept")
    return _told(figure, f"Trajectories: {_listed(bars.items())}.")


def loss_curve(curves: Mapping[str, Points]) -> Figure:
    """Training loss by update, one line for each named run."""
    falls = {name: (_mean(p[: _tenth(p)]), _mean(p[-_tenth(p) :])) for name, p in curves.items() if p}
    fell = falls and all(last < first for first, last in falls.values())
    with styled() as (figure, axes):
        _lines(axes, curves)
        axes.set(xlabel="update", ylabel="loss (nats a token)")
        axes.set_title("The loss on sampled tokens falls" if fell else "Loss on sampled tokens")
    ends = (f"{name} from {first:.2f} to {last:.2f}" for name, (first, last) in falls.items())
    return _told(figure, f"Mean loss of the first and last tenth of the updates: {'; '.join(ends)}.")


def before_after(scores: Mapping[str, float]) -> Figure:
    """A share in [0, 1] for each checkpoint on the held-out training dialogues."""
    names = list(scores)
    with styled(height=0.9 + 0.4 * len(scores)) as (figure, axes):
        values = [100 * scores[name] for name in names]
        bars = axes.barh(names, values, color=[GREY, *[BLUE] * (len(names) - 1)])
        axes.bar_label(bars, fmt="%.1f", padding=3)
        axes.invert_yaxis()
        axes.grid(visible=False)
        axes.set(xlabel="EX on held-out training dialogues, per cent", xlim=(0, max(100.0, *values)))
        axes.set_title("What each checkpoint answers right, without intervals")
    return _told(
        figure, f"EX in per cent: {_listed((n, round(v, 1)) for n, v in zip(names, values, strict=True))}."
    )


# Reinforcement learning


def reward_per_bin(points: Points, steps_per_bin: Sequence[int]) -> Figure:
    """Mean reward by update; bins are shaded, and each is to be read by itself, as the next one is harder."""
    edges = [0, *accumulate(steps_per_bin)]
    parts = [[p for p in points if low < p[0] <= high] for low, high in zip(edges, edges[1:], strict=False)]
    rises = [_slope(part) > 0 for part in parts if len(part) > 2]
    with styled() as (figure, axes):
        for number, part in enumerate(parts):
            colour = PALETTE[number % len(PALETTE)]
            axes.plot(*_columns(part), color=colour, alpha=0.35, linewidth=1)
            axes.plot(*_columns(_smooth(part)), color=colour)
            middle = (edges[number] + edges[number + 1]) / 2
            place = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "ha": "center"}
            axes.annotate(f"bin {number + 1}", (middle, 1), (0, -10), color=colour, **place)
            axes.axvspan(edges[number] + 0.5, edges[number + 1] + 0.5, color=colour, alpha=0.06, linewidth=0)
        axes.set(xlabel="update (questions go from easy to hard)", ylabel="mean reward")
        rising = rises and all(rises)
        axes.set_title("Reward rises within every bin" if rising else "Reward by update, bin after bin")
    means = (f"bin {n + 1} {_mean(part):.2f}" for n, part in enumerate(parts) if part)
    return _told(figure, f"Mean reward: {', '.join(means)}.")


def response_length(points: Points) -> Figure:
    """Mean length of the episodes by update, in tokens."""
    with styled() as (figure, axes):
        axes.plot(*_columns(points), color=BLUE, alpha=0.35, linewidth=1)
        axes.plot(*_columns(_smooth(points)), color=BLUE)
        axes.set(xlabel="update", ylabel="sampled tokens an episode", title="Length of the episodes")
        axes.set_ylim(bottom=0)
    first, last = _mean(points[: _tenth(points)]), _mean(points[-_tenth(points) :])
    return _told(
        figure, f"Episodes have {first:.0f} tokens in the first tenth of the updates, {last:.0f} in the last."
    )


def held_out_scores(arms: Mapping[str, Points]) -> Figure:
    """EX + EM (at most 2) on held-out training dialogues for each checkpoint of each arm; the best is
    marked.
    """
    best = {name: max(points, key=lambda p: (p[1], p[0])) for name, points in arms.items() if points}
    with styled() as (figure, axes):
        _lines(axes, arms, marker="o", markersize=4)
        for number, name in enumerate(arms):
            if name in best:
                axes.plot(*best[name], "o", markersize=10, fillstyle="none", color=PALETTE[number])
        axes.set(xlabel="update", ylabel="EX + EM, held-out dialogues")
        axes.set_title("The checkpoint of each arm is chosen on training dialogues (circled)")
    chosen = (f"{name} {score:.3f} at update {step}" for name, (step, score) in best.items())
    return _told(figure, f"Best held-out EX + EM: {', '.join(chosen)}.")


def reward_waterfall(breakdown: RewardBreakdown) -> Figure:
    """How the components of one episode's reward add up; a component that was not scored adds nothing."""
    weights = {"propose": PROPOSE_WEIGHT, "execute": EXECUTE_WEIGHT, "memory": MEMORY_WEIGHT}
    parts = {"EX": breakdown.ex, "EM": breakdown.em}
    parts |= {f"{w} {name}": _weighted(getattr(breakdown, name), w) for name, w in weights.items()}
    with styled() as (figure, axes):
        height = 0.0
        for number, (name, value) in enumerate(parts.items()):
            axes.bar(name, value or 0, bottom=height, color=GREEN if number < 2 else BLUE)
            height += value or 0
            axes.annotate("–" if value is None else f"+{value:.2f}", (name, height), (0, 2), ha="center",
                          textcoords="offset points")  # fmt: skip
        axes.bar("total", height, color=GREY)
        axes.annotate(f"{height:.2f}", ("total", height), (0, 2), ha="center", textcoords="offset points")
        axes.set(ylabel="reward", ylim=(0, 3.2))
        axes.set_title(f"Outcome {breakdown.outcome:.2f} and process {breakdown.process:.2f}")
    return _told(figure, f"The components add up to a reward of {height:.2f}.")


# Evaluation


def ex_per_turn(systems: Mapping[str, Sequence[Row]]) -> Figure:
    """EX by turn for each system, with dialogue-clustered 95 % intervals."""
    return _by_part(systems, per_turn, "turn of the dialogue")


def ex_per_hardness(systems: Mapping[str, Sequence[Row]]) -> Figure:
    """EX by Spider's hardness class for each system, with dialogue-clustered 95 % intervals."""
    return _by_part(systems, per_hardness, "hardness of the gold query")


def ability_metrics(systems: Mapping[str, Sequence[Row]]) -> Figure:
    """The long-horizon abilities of each system (`evaluation.abilities`); the gain is in points and may be
    negative.
    """
    return _by_measure(systems, abilities, "Long-horizon abilities", "per cent (correction gain: points)")


def recovery_bars(systems: Mapping[str, Sequence[Row]]) -> Figure:
    """Of the episodes that met trouble the share that ends with EX, for each system."""
    return _by_measure(systems, recovery, "Episodes that met trouble and end right", "EX, per cent")


def _by_part(
    systems: Mapping[str, Sequence[Row]], split: Callable[[Sequence[Row]], list[Part]], axis: str
) -> Figure:
    parts = {name: split(rows) for name, rows in systems.items()}
    order = max(parts.values(), key=len, default=[])
    values = {name: {p.name: p.ex for p in found} for name, found in parts.items()}
    with styled(7.2, 3.4) as (figure, axes):
        _bars(axes, values, [p.name for p in order])
        axes.set(xlabel=axis, ylabel="EX, per cent", ylim=(0, 100))
        axes.set_title(_ordered_title(values) or f"EX by {axis}")
    return _told(figure, f"EX in per cent by {axis}. {_spoken(values)}.")


def _ordered_title(values: Mapping[str, Mapping[str, Interval]]) -> str:
    """A title if the last system is above the first one in every part, beyond both intervals."""
    names = list(values)
    if len(names) < 2:
        return ""
    first, last = values[names[0]], values[names[-1]]
    clear = [last[part].low > first[part].high for part in first if part in last]
    return f"{names[-1]} is above {names[0]} everywhere" if clear and all(clear) else ""


def _by_measure(systems, measure: Callable[[Sequence[Row]], list[Measure]], title: str, axis: str) -> Figure:
    found = {name: measure(rows) for name, rows in systems.items()}
    names = [m.name for m in next(iter(found.values()), [])]
    values = {s: {m.name: m.interval for m in ms if m.interval} for s, ms in found.items()}
    with styled(7.2, 3.6) as (figure, axes):
        _bars(axes, values, names)
        axes.set(ylabel=axis, title=title)
        axes.set_xticks(range(len(names)), [n.replace(" ", "\n", 1) for n in names])
    return _told(figure, f"{title}, {axis}. {_spoken(values)}.")


def _spoken(values: Mapping[str, Mapping[str, Interval]]) -> str:
    """The estimates in words: system, then part and value."""
    return "; ".join(
        f"{name}: {', '.join(f'{part} {i.estimate:.0f}' for part, i in found.items())}"
        for name, found in values.items()
    )


def _bars(axes: Axes, values: Mapping[str, Mapping[str, Interval]], parts: Sequence[str]) -> None:
    """Grouped bars with intervals; a part that a system does not have stays empty."""
    width = 0.8 / max(1, len(values))
    for number, (name, found) in enumerate(values.items()):
        places = [n for n, part in enumerate(parts) if part in found]
        shown = [found[parts[n]] for n in places]
        heights = [i.estimate for i in shown]
        spread = [[max(0, i.estimate - i.low) for i in shown], [max(0, i.high - i.estimate) for i in shown]]
        look = {"color": PALETTE[number % len(PALETTE)], "error_kw": {"elinewidth": 0.8, "capsize": 1.5}}
        left = [n - 0.4 + width * (number + 0.5) for n in places]
        axes.bar(left, heights, 0.92 * width, yerr=spread, label=name, **look)
    axes.set_xticks(range(len(parts)), parts)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.figure.legend(loc="outside lower center", ncols=4, fontsize=8)


# Lines


def _lines(axes: Axes, curves: Mapping[str, Points], **style) -> None:
    for number, (name, points) in enumerate(curves.items()):
        if points:
            colour = PALETTE[number % len(PALETTE)]
            axes.plot(*_columns(points), color=colour, **style)
            axes.annotate(name, points[-1], (8, 0), textcoords="offset points", color=colour, va="center")
    axes.margins(x=0.12)


def _columns(points: Points) -> tuple[list[int], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _smooth(points: Points, width: int = 7) -> Points:
    """Running mean over `width` points, fewer at the ends."""
    half = width // 2
    return [(x, _mean(points[max(0, n - half) : n + half + 1])) for n, (x, _) in enumerate(points)]


def _slope(points: Points) -> float:
    x, y = _columns(points)
    centre = sum(x) / len(x)
    return sum((a - centre) * b for a, b in zip(x, y, strict=True))


def _mean(points: Points) -> float:
    return sum(y for _, y in points) / len(points) if points else float("nan")


def _tenth(points: Points) -> int:
    return max(1, len(points) // 10)


def _weighted(value: float | None, weight: float) -> float | None:
    return None if value is None else weight * value


def _listed(values) -> str:
    return ", ".join(f"{v[0]} {v[1]}" if isinstance(v, tuple) else str(v) for v in values)


def _told(figure: Figure, sentence: str) -> Figure:
    figure.set_label(sentence)
    return figure
