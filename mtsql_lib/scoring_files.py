"""The official file formats: gold `SQL<TAB>database` and predicted SQL, a line a turn, an empty line between
dialogues.

What the official script drops in silence or dies of (a dialogue with a turn too few, an empty prediction) is
paired up here and noted.
"""

from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from mtsql_lib.errors import KitError


class Pair(NamedTuple):
    """One gold turn with its prediction: None if the file has none for it, "" if its line is empty. Counted
    from 0.
    """

    session: int
    turn: int
    database_id: str
    gold: str
    predicted: str | None


class Pairing(NamedTuple):
    """All gold turns, the number of dialogues (empty ones included), and what a reader should know of the
    files.
    """

    pairs: tuple[Pair, ...]
    sessions: int
    notes: tuple[str, ...] = ()


def pair_files(gold: str | Path, predicted: str | Path) -> Pairing:
    """Read two files and pair them turn by turn.

    Where both files have the same lines but the prediction has empty ones of its own, these are empty
    predictions; otherwise an empty line ends a dialogue. Missing predictions become None, surplus ones are
    noted and left out. Raises KitError for a malformed gold line and for unequal numbers of dialogues.
    """
    gold_lines, lines = _lines(gold), _lines(predicted)
    for number, line in enumerate(gold_lines, 1):
        if line and line.count("\t") != 1:
            found = line.count("\t") + 1
            raise KitError(f"{gold}, line {number}: SQL<TAB>database expected, {found} field(s) found")
    dialogues = _dialogues(gold_lines, gold_lines)
    if len(gold_lines) == len(lines) and not any(
        line for line, own in zip(lines, gold_lines, strict=True) if not own
    ):
        answers = _dialogues(lines, gold_lines)
    else:
        answers = _dialogues(lines, lines)
    if len(dialogues) != len(answers):
        raise KitError(_unequal(gold, predicted, dialogues, answers))
    return _pairing(dialogues, answers)


def _lines(path: str | Path) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            return [line.strip() for line in file]
    except (OSError, UnicodeDecodeError) as problem:
        raise KitError(f"{path}: cannot be read ({problem})") from None


def _dialogues(lines: list[str], frame: list[str]) -> list[list[str]]:
    """Lines grouped by the empty lines of `frame`; every one ends a dialogue, even one without turns."""
    dialogues, turns = [], []
    for line, mark in zip(lines, frame, strict=True):
        if mark:
            turns.append(line)
        else:
            dialogues.append(turns)
            turns = []
    return [*dialogues, turns] if turns else dialogues


def _unequal(gold, predicted, dialogues: list[list[str]], answers: list[list[str]]) -> str:
    lengths = zip_longest(map(len, dialogues), map(len, answers), fillvalue=0)
    first, wanted, given = next((n, w, g) for n, (w, g) in enumerate(lengths, 1) if w != g)
    return (
        f"{predicted}: {len(answers)} dialogues, but {gold} has {len(dialogues)}; they first differ in "
        f"dialogue {first} ({given} turns predicted, {wanted} in gold). "
        "Write one line a turn and one empty line between dialogues"
    )


def _pairing(dialogues: list[list[str]], answers: list[list[str]]) -> Pairing:
    pairs, missing, surplus = [], [], []
    for session, (turns, given) in enumerate(zip(dialogues, answers, strict=True)):
        for turn, line in enumerate(turns):
            sql, database_id = line.split("\t")
            predicted = given[turn].split("\t")[0].strip() if turn < len(given) else None
            pairs.append(Pair(session, turn, database_id, sql, predicted))
        if len(given) != len(turns):
            (missing if len(given) < len(turns) else surplus).append(session)
    empty = [p.session for p in pairs if p.predicted == ""]
    hollow = [n for n, turns in enumerate(dialogues) if not turns]
    notes = (
        _note(missing, "dialogues lack predictions for their last turns: these count as wrong"),
        _note(
            surplus,
            "dialogues have more predictions than gold turns: the surplus is left out, check the alignment",
        ),
        _note(empty, "predictions are empty: they count as wrong"),
        _note(
            hollow,
            "dialogues of the gold file have no turns: they are right in interaction match, as officially",
        ),
    )
    return Pairing(tuple(pairs), len(dialogues), tuple(note for note in notes if note))


def _note(sessions: list[int], text: str) -> str:
    if not sessions:
        return ""
    named = ", ".join(str(n) for n in sessions[:5]) + (", ..." if len(sessions) > 5 else "")
    return f"{len(sessions)} {text} (dialogue {named}, counted from 0)"
