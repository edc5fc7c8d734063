"""`evaluate`: the development set of any SParC- or CoSQL-like folder through environment, tools and
metrics.

With `gold` for a model the reference SQL itself plays: it proposes, verifies, reads the memory and answers,
so what is not 100 % is a fault of the data or of the kit, and is named. No run folder, no store: one table
and one JSON file.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mtsql_lib.config import Profile
from mtsql_lib.dialogues import Question
from mtsql_lib.errors import KitError
from mtsql_lib.evaluation import Part, Summary, abilities, per_hardness, per_turn, plain, recovery, summary
from mtsql_lib.play import Player, Setting, Table, corpus_questions, replay_gold, whole_dialogues
from mtsql_lib.rows import Row, row_of, unplayed
from mtsql_lib.store import atomic_write

GOLD = "gold"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `evaluate`."""
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder in SParC or CoSQL layout (with a development set)")
    add("--databases", type=Path, required=True, help="folder of databases, <id>/<id>.sqlite")
    add("--model", required=True, help="folder of a model, or gold: the reference SQL is played")
    add("--profile", default="laptop", help="profile that says how episodes run (default: laptop)")
    add("--limit", type=int, default=0, help="about how many questions, whole dialogues; 0: all (default)")
    add("--out", type=Path, default=Path("evaluation.json"), help="where to write the figures as JSON")


def main(args: argparse.Namespace) -> int:
    """Play, print the table and write the JSON file; KitError for input that cannot be used."""
    asked = whole_dialogues(corpus_questions(args.data, "dev"), args.limit)
    check_input(asked, args.databases, args.out)
    rows = evaluate(asked, _table(args), args.model)
    print(table(rows, args))
    atomic_write(args.out, json.dumps(as_json(rows, args), indent=1, ensure_ascii=False) + "\n")
    print(f"written to {args.out}")
    return 0


def check_input(asked: Sequence[Question], databases: Path, out: Path) -> None:
    """KitError before any work is done if there is nothing to ask, a database is missing, or `out` cannot
    be written.
    """
    if not asked:
        raise KitError("the development set holds no questions: give a folder with dialogues")
    if not databases.is_dir():
        raise KitError(f"no folder of databases at {databases}: give one that holds <id>/<id>.sqlite")
    wanted = dict.fromkeys(q.database_id for q in asked)
    missing = [i for i in wanted if not (databases / i / f"{i}.sqlite").is_file()]
    if missing:
        others = f" (and {len(missing) - 1} others)" if len(missing) > 1 else ""
        name = f"{missing[0]}/{missing[0]}.sqlite"
        raise KitError(f"database {missing[0]}{others} is missing: there is no {databases / name}")
    folder = out.absolute().parent
    if out.is_dir() or not os.access(folder, os.W_OK):
        raise KitError(f"cannot write {out}: give a file in a folder that exists and can be written")


def evaluate(asked: Sequence[Question], table: Table, model: str | Path) -> list[Row]:
    """One row a question, in order; `model` is a model folder or `gold`. Greedy decoding."""
    if str(model) == GOLD:
        return [_replayed(question, table) for question in asked]
    player = Player(table, Path(model))
    refused = {q.id: reason for q in asked if (reason := _too_long(q, player))}
    playable = [q for q in asked if q.id not in refused]
    played = player.play(playable, Setting(), table.profile.seed, progress=_progress(model))
    rows = {s.question.id: row_of(s, table.judge) for s in played}
    for question in asked:
        if question.id in refused:
            rows[question.id] = unplayed(question, refused[question.id], table.judge)
    return [rows[q.id] for q in asked]


def table(rows: Sequence[Row], args: argparse.Namespace) -> str:
    """What `evaluate` prints."""
    whole = summary(rows)
    lines = [f"{args.model} on {args.data}, databases {args.databases}", "", str(whole), ""]
    lines += [_part_line(p) for p in (*per_turn(rows), *per_hardness(rows))]
    lines += ["", *(str(m) for m in (*abilities(rows), *recovery(rows)))]
    lines += ["", f"official and strict verdicts differ on {len(whole.differ)} questions"]
    lines += [f"failed: {question}: {reason}" for question, reason in whole.failed]
    return "\n".join(lines)


def as_json(rows: Sequence[Row], args: argparse.Namespace) -> dict[str, Any]:
    """The figures in per cent, over the questions whose gold query runs; `turn` counts from 0.

    ex and em are shares of questions; qm and im give question and interaction match for both metrics.
    """
    whole = summary(rows)
    return {
        "data": str(args.data),
        "databases": str(args.databases),
        "model": str(args.model),
        "profile": args.profile,
        "history": "gold",
        "questions": whole.questions,
        "executed": whole.executed,
        "dialogues": whole.dialogues,
        "ex": whole.ex.question.estimate,
        "em": whole.em.question.estimate,
        "qm": {"exec": whole.ex.question.estimate, "exact": whole.em.question.estimate},
        "im": {"exec": whole.ex.interaction.estimate, "exact": whole.em.interaction.estimate},
        "strict": _strict(whole),
        "failed": [
            {"dialogue": r.dialogue_id, "turn": r.turn, "reason": r.reason, "question": r.question_id}
            for r in rows
            if r.reason
        ],
        "differ": list(whole.differ),
        "per_turn": [plain(p) for p in per_turn(rows)],
        "per_hardness": [plain(p) for p in per_hardness(rows)],
        "abilities": [plain(m) for m in abilities(rows)],
        "recovery": [plain(m) for m in recovery(rows)],
    }


def _strict(whole: Summary) -> dict[str, Any]:
    ex, em = whole.ex_strict, whole.em_strict
    return {
        "qm": {"exec": ex.question.estimate, "exact": em.question.estimate},
        "im": {"exec": ex.interaction.estimate, "exact": em.interaction.estimate},
    }


def _table(args: argparse.Namespace) -> Table:
    profile = Profile.load(args.profile)
    names = args.data / "tables.json"
    return Table(profile, args.databases, names if names.is_file() else None)


def _replayed(question: Question, table: Table) -> Row:
    episode = replay_gold(table.environment(question, Setting()))
    return row_of(table.scored(question, episode), table.judge)


def _too_long(question: Question, player: Player) -> str:
    """Why an episode cannot fit into the model's positions, "" if it can."""
    prompt = len(player.codec.encode(player.table.environment(question, Setting()).prompt))
    room = player.table.profile.rollout.max_episode_tokens
    positions = player.engine.model.config.max_position_embeddings
    if prompt + room <= positions:
        return ""
    return f"the prompt has {prompt} tokens, the episode may take {room}, the model has {positions} positions"


def _progress(model: str | Path):
    from mtsql_lib.rollout import Progress

    return Progress(f"evaluate {Path(model).name}")


def _part_line(part: Part) -> str:
    return f"{part.name:<8}{part.questions:>6} questions  EX {part.ex!s:<20}  EM {part.em}"
