"""What `make claims` left in `recorded/`: the ledger and the curves of several seeds, for the notebooks.

Reads files only; an empty folder is no fault: the table then says how to fill it, and the figures are None.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtsql_lib.plots import GREEN, GREY, PALETTE, RED, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = Path(__file__).parent.parent / "recorded"
NOTHING = "Nothing is recorded yet: `make claims` runs the experiments and fills `recorded/`."
_COLOURS = {"shown": GREEN, "contradicted": RED, "not shown": GREY}


def ledger(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """The entries of `claims.json` ({id, claim, statistic, estimate, low, high, seeds, verdict, paper}), []
    if there is none.
    """
    return _read(folder / "claims.json", [])


def ledger_table(entries: Sequence[dict[str, Any]]) -> str:
    """The ledger as a Markdown table."""
    if not entries:
        return NOTHING
    lines = ["| | claim | found, 95 % | verdict | paper |", "|---" * 5 + "|"]
    for e in entries:
        places = 2 if _is_correlation(e) else 1
        numbers = (f"{e[part]:+.{places}f}" for part in ("estimate", "low", "high") if _tested(e))
        found = "{} [{}, {}]".format(*numbers) if _tested(e) else "–"
        lines.append(f"| {e['id']} | {e['claim']} | {found} | {e['verdict']} | {e['paper']} |")
    return "\n".join(lines)


def ledger_figure(entries: Sequence[dict[str, Any]]) -> Figure | None:
    """The intervals of the claims that are differences in percentage points; None without any."""
    drawn = [e for e in entries if _tested(e) and not _is_correlation(e)]
    if not drawn:
        return None
    counts = {verdict: sum(e["verdict"] == verdict for e in drawn) for verdict in _COLOURS}
    with styled(height=0.9 + 0.3 * len(drawn)) as (figure, axes):
        for place, e in enumerate(drawn):
            colour = _COLOURS.get(e["verdict"], GREY)
            axes.plot((e["low"], e["high"]), (place, place), color=colour)
            axes.plot(e["estimate"], place, "o", color=colour)
        axes.set_yticks(range(len(drawn)), [e["id"] for e in drawn])
        axes.invert_yaxis()
        axes.axvline(0, color="black", linewidth=0.8)
        axes.grid(visible=False)
        axes.set(xlabel="percentage points, 95 % interval over dialogues and seeds")
        axes.set_title(", ".join(f"{n} {verdict}" for verdict, n in counts.items()))
    told = "; ".join(f"{e['id']} {e['estimate']:+.1f} ({e['verdict']})" for e in drawn)
    figure.set_label(f"Estimates of the claims in points: {told}.")
    return figure


def curves_figure(name: str, arms: Sequence[str], label: str, folder: Path = FOLDER) -> Figure | None:
    """A training curve of each arm, thin for each seed and thick for their mean; None without any."""
    recorded = _read(folder / "curves.json", {})
    found = {arm: [by[arm][name] for by in recorded.values() if by.get(arm, {}).get(name)] for arm in arms}
    if not any(found.values()):
        return None
    with styled() as (figure, axes):
        for arm, colour in zip(arms, PALETTE, strict=False):
            for points in found[arm]:
                axes.plot(*zip(*points, strict=True), color=colour, alpha=0.25, linewidth=1)
            if mean := _mean(found[arm]):
                axes.plot(*zip(*mean, strict=True), color=colour, label=f"{arm} ({len(found[arm])} seeds)")
        axes.set(xlabel="update", ylabel=label, title=f"Recorded: {label}")
        axes.legend()
    ends = (f"{arm} ends at {mean[-1][1]:.2f}" for arm in arms if (mean := _mean(found[arm])))
    figure.set_label(f"{label} by update: {', '.join(ends)}.")
    return figure


def _tested(entry: dict[str, Any]) -> bool:
    return entry["estimate"] is not None


def _is_correlation(entry: dict[str, Any]) -> bool:
    return "correlation" in entry["statistic"]


def _mean(curves: Sequence[Sequence[Sequence[float]]]) -> list[tuple[float, float]]:
    """The mean over seeds at the updates that all of them have."""
    if not curves:
        return []
    values = [dict(map(tuple, points)) for points in curves]
    shared = sorted(set.intersection(*map(set, values)))
    return [(x, sum(v[x] for v in values) / len(values)) for x in shared]


def _read(path: Path, otherwise: Any) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else otherwise
