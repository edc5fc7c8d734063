"""The official table: question and interaction match by hardness, the partial components, and the scores by
turn.

The layout is that of the official script to the character, so that its numbers can be compared by eye or by
`diff`.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from mtsql_lib.exact_match import COMPONENTS

LEVELS = ("easy", "medium", "hard", "extra", "all")
TURNS = ("turn 1", "turn 2", "turn 3", "turn 4", "turn > 4")


class TurnScore(NamedTuple):
    """The verdicts on one turn. `status` says how execution went, or why a turn was not compared."""

    session: int
    turn: int
    db: str
    hardness: str
    parsed: bool
    exact: bool
    exec: bool
    exact_strict: bool
    exec_strict: bool
    status: str
    message: str = ""
    components: tuple[tuple[int, int, int], ...] = ()  # in the order of COMPONENTS; none if gold has no tree


class Column(NamedTuple):
    """One column of the table: the turns counted, the shares that are right, and (accuracy, recall, F1) by
    component.
    """

    count: int
    exec: float
    exact: float
    exec_strict: float
    exact_strict: float
    partial: dict[str, tuple[float, float, float]]


VERDICTS = ("exec", "exact", "exec_strict", "exact_strict")
_NEVER_FILLED = dict.fromkeys(COMPONENTS, (0.0, 0.0, 1.0))  # what the official script prints under joint_all


def columns(scores: Sequence[TurnScore], sessions: int) -> dict[str, Column]:
    """The columns by name: the levels, "joint_all" (interaction match) and the turns.

    A turn whose gold does not parse has no level and counts in "all" only. The turns have no partial
    components.
    """
    table = {}
    every = [Counter() for _ in COMPONENTS]
    for level in LEVELS[:-1]:
        chosen = [score for score in scores if score.hardness == level]
        counted = _counted(chosen)
        table[level] = Column(len(chosen), *_shares(chosen), _partials(counted))
        every = [whole + found for whole, found in zip(every, counted, strict=True)]
    table["all"] = Column(len(scores), *_shares(scores), _partials(every))
    wrong = [len({s.session for s in scores if not getattr(s, verdict)}) for verdict in VERDICTS]
    table["joint_all"] = Column(
        sessions, *(_share(sessions - count, sessions) for count in wrong), _NEVER_FILLED
    )
    for n, name in enumerate(TURNS):
        chosen = [score for score in scores if min(score.turn, 4) == n]
        table[name] = Column(len(chosen), *_shares(chosen), {})
    return table


def _shares(scores: Sequence[TurnScore]) -> list[float]:
    return [_share(sum([getattr(score, verdict) for score in scores]), len(scores)) for verdict in VERDICTS]


def _counted(scores: list[TurnScore]) -> list[Counter]:
    """How often each score of each component occurs."""
    found = zip(*[score.components for score in scores], strict=True)
    return list(map(Counter, found)) or [Counter() for _ in COMPONENTS]


def _partials(counted: list[Counter]) -> dict[str, tuple[float, float, float]]:
    return dict(zip(COMPONENTS, map(_partial, counted), strict=True))


def _partial(scores: Counter[tuple[int, int, int]]) -> tuple[float, float, float]:
    """Accuracy over the turns whose prediction has the component, recall over those whose gold has it, and
    F1; `scores` says how often each score occurs.
    """
    if not scores:
        return 0.0, 0.0, 0.0
    predicted = [(right * times, times) for (right, given, _), times in scores.items() if given]
    wanted = [(right * times, times) for (right, _, there), times in scores.items() if there]
    accuracy, recall = (_share(*map(sum, zip(*s, strict=True))) if s else 0.0 for s in (predicted, wanted))
    return accuracy, recall, 2 * accuracy * recall / (accuracy + recall) if accuracy or recall else 1.0


def _share(right: int, count: int) -> float:
    return right / count if count else 0.0


def render(table: dict[str, Column], mode: str = "official") -> str:
    """The table as the official script prints it; the part by turn only if there are several dialogues.

    `mode` chooses the verdicts, "official" or "strict"; partial components are official in both.
    """
    strict = "_strict" if mode == "strict" else ""
    many = table["joint_all"].count > 1
    names = [*LEVELS, "joint_all"] if many else list(LEVELS)
    chosen = [table[name] for name in names]
    lines = [
        _row("", names),
        _row("count", [c.count for c in chosen]),
        "=====================   EXECUTION ACCURACY     =====================",
        _row("execution", [getattr(c, "exec" + strict) for c in chosen]),
        "\n====================== EXACT MATCHING ACCURACY =====================",
        _row("exact match", [getattr(c, "exact" + strict) for c in chosen]),
        "\n---------------------PARTIAL MATCHING ACCURACY----------------------",
    ]
    for n, title in enumerate(("", "RECALL ----------------------", "F1 --------------------------")):
        if title:
            lines.append(f"---------------------- PARTIAL MATCHING {title}")
        lines += [_row(name, [c.partial[name][n] for c in chosen]) for name in COMPONENTS]
    if many:
        turns = [table[name] for name in TURNS]
        lines += [
            "\n",
            _row("", TURNS),
            _row("count", [c.count for c in turns]),
            "=====================   TURN EXECUTION ACCURACY     =====================",
            _row("execution", [getattr(c, "exec" + strict) for c in turns]),
            "\n====================== TURN EXACT MATCHING ACCURACY =====================",
            _row("exact match", [getattr(c, "exact" + strict) for c in turns]),
        ]
    return "\n".join(lines)


def _row(name: str, cells: Sequence) -> str:
    texts = (f"{cell:<20.3f}" if isinstance(cell, float) else f"{cell:<20}" for cell in cells)
    return f"{name:20} " + " ".join(texts)
