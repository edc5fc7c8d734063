"""The dataset card of the bundled corpora, counted from the files: it cannot say what is not there."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from mtsql_lib.dialogues import Dialogue, read_dialogues
from mtsql_lib.exact_match import EvaluatorSchema, hardness
from mtsql_lib.plans import plan
from mtsql_lib.spelling import singular_of
from mtsql_lib.world.spec import DatabaseSpec

HARDNESS = ("easy", "medium", "hard", "extra")
RELATIONS = ("refinement", "theme-entity", "theme-property", "answer-refinement")
CAUSES = {
    "value_mismatch": "a literal is stored in another form than it is said in",
    "other_table": "a needed column lives in a table that is not the one the question is about",
    "ambiguous_name": "a column of the query has a namesake in another table of the database",
    "join_path": "two joins or more, through a bridge table or along two foreign keys",
    "carried_constraint": "a condition or the table comes from an earlier turn and is not said again",
    "aggregation_drift": "the aggregate or grouping of the turn before has to go or to change",
    "vacuous": "the gold result is empty (or a count of zero)",
}
_STEM = 5  # letters that make two words the same: "priced" and "prices"
_NAMELESS = frozenset("id no key code name title".split())  # of keys and labels: asked for by the noun


@dataclass
class Counts:
    """What is in one split of one corpus."""

    dialogues: int = 0
    questions: int = 0
    words: int = 0
    lengths: Counter = field(default_factory=Counter)
    hardness: Counter = field(default_factory=Counter)
    relations: Counter = field(default_factory=Counter)
    causes: Counter = field(default_factory=Counter)
    named: int = 0  # questions of which `columns_named` is true
    tables: Counter = field(default_factory=Counter)  # what `table_named` says of them


def count(dialogues: list[Dialogue], schemas: dict[str, EvaluatorSchema]) -> Counts:
    """Count dialogues, questions, words and classes; raises KitError if a gold does not parse."""
    found = Counts(dialogues=len(dialogues))
    for dialogue in dialogues:
        found.lengths[len(dialogue.turns)] += 1
        heard = ""
        for turn in dialogue.turns:
            heard += f" {turn.utterance}"
            found.named += columns_named(turn.sql, heard)
            found.tables[table_named(turn.sql, heard)] += 1
            found.questions += 1
            found.words += len(turn.utterance.split())
            found.hardness[hardness(turn.sql, schemas[dialogue.database_id])] += 1
            found.relations[turn.relation] += 1
            found.causes.update(turn.causes)
    return found


def table_named(sql: str, heard: str) -> bool | None:
    """Whether a word of its table's name was said so far, as far as stems tell; None for a query that reads
    several tables.
    """
    table, *more = (part.partition(":")[0] for part in plan(sql).split("; "))
    return None if more else bool(_stems(table) & _stems(heard))


def columns_named(sql: str, heard: str) -> bool:
    """Whether every column of the query, but keys and labels, was said so far, as far as stems tell."""
    names = (name for part in plan(sql).split("; ") for name in part.partition(": ")[2].split(", "))
    return {stem for stem in _stems(" ".join(names)) if len(stem) > 1} - _NAMELESS <= _stems(heard)


def _stems(text: str) -> set[str]:
    return {(singular_of(word) or word)[:_STEM] for word in re.findall("[a-z]+", text.lower())}


def corpus_counts(out: Path) -> dict[str, Counts]:
    """`count` for every corpus and split under `out`, by "steps/train" and so on."""
    found = {}
    for style in ("steps", "talk"):
        entries = json.loads((out / style / "tables.json").read_text(encoding="utf-8"))
        schemas = {entry["db_id"]: _schema(entry) for entry in entries}
        for split in ("train", "dev"):
            found[f"{style}/{split}"] = count(read_dialogues(out / style / f"{split}.json"), schemas)
    return found


def _schema(entry: dict) -> EvaluatorSchema:
    columns: dict[str, list[str]] = {name.lower(): [] for name in entry["table_names_original"]}
    names = list(columns)
    for table, column in entry["column_names_original"][1:]:
        columns[names[table]].append(column.lower())
    return EvaluatorSchema(columns)


def summary_lines(out: Path) -> list[str]:
    """One line a corpus and split."""
    return [
        f"{name}: {c.dialogues} dialogues, {c.questions} questions, "
        + ", ".join(f"{level} {c.hardness[level] / c.questions:.0%}" for level in HARDNESS)
        for name, c in corpus_counts(out).items()
    ]


def card_text(out: Path, specs: list[DatabaseSpec], seed: int) -> str:
    """The card as Markdown."""
    counts = corpus_counts(out)
    parts = [_HEAD.format(seed=seed), _databases(specs), _table("", _sizes(counts), counts)]
    parts += [
        "## Hardness (Spider's classes)\n",
        _table("class", _shares(counts, "hardness", HARDNESS), counts),
    ]
    parts += [
        "## Context relations (SParC's, of the turns after the first)\n",
        _table("relation", _shares(counts, "relations", RELATIONS), counts),
    ]
    causes = [[f"`{cause}`: {text}", *_cause_cells(counts, cause)] for cause, text in CAUSES.items()]
    parts += ["## Causes of failure, in questions\n", _table("cause", causes, counts), _TAIL]
    return "\n".join(parts)


def _databases(specs: list[DatabaseSpec]) -> str:
    lines = [
        "## Databases\n",
        "| database | split | what it is about | tables | rows |",
        "|---|---|---|---|---|",
    ]
    for spec in sorted(specs, key=lambda s: (s.split != "train", s.id)):
        rows = sum(table.rows for table in spec.tables)
        lines.append(f"| {spec.id} | {spec.split} | {spec.topic} | {len(spec.tables)} | {rows} |")
    return "\n".join(lines) + "\n\n## Size\n"


def _sizes(counts: dict[str, Counts]) -> list[list[str]]:
    return [
        ["dialogues", *(str(c.dialogues) for c in counts.values())],
        ["questions", *(str(c.questions) for c in counts.values())],
        ["turns a dialogue", *(f"{c.questions / c.dialogues:.2f}" for c in counts.values())],
        ["words a question", *(f"{c.words / c.questions:.1f}" for c in counts.values())],
        *(
            [f"dialogues of {n} turns", *(str(c.lengths[n]) for c in counts.values())]
            for n in sorted({n for c in counts.values() for n in c.lengths})
        ),
        ["questions whose columns are all said", *(f"{c.named / c.questions:.1%}" for c in counts.values())],
        ["of those on one table, whose table is said", *(_tables_said(c) for c in counts.values())],
    ]


def _tables_said(found: Counts) -> str:
    return f"{found.tables[True] / (found.tables[True] + found.tables[False]):.1%}"


def _shares(counts: dict[str, Counts], name: str, classes: tuple[str, ...]) -> list[list[str]]:
    rows = []
    for entry in classes:
        cells = [getattr(c, name) for c in counts.values()]
        rows.append(
            [entry, *(f"{cell[entry] / max(1, sum(cell[e] for e in classes)):.1%}" for cell in cells)]
        )
    return rows


def _cause_cells(counts: dict[str, Counts], cause: str) -> list[str]:
    return [f"{c.causes[cause]} ({c.causes[cause] / c.questions:.1%})" for c in counts.values()]


def _table(corner: str, rows: list[list[str]], counts: dict[str, Counts]) -> str:
    head = [f"| {corner} | {' | '.join(counts)} |", "|---" * (len(counts) + 1) + "|"]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


_HEAD = """# The bundled corpora

Two corpora of dialogues about the same databases, in the layout of Spider and SParC. `steps` is
goal-driven, in the style of SParC; `talk` is a person talking, in the style of CoSQL: ellipsis, "what about
...", corrections, small talk. Whoever trains on one can test on the other.

- **Source**: made by this kit. The databases were designed by hand (`sources/*.toml`), their rows and the
  dialogues drawn by `mtsql_lib/corpus.py` with seed {seed}. No text, schema or value of Spider, SParC or
  CoSQL is in them.
- **Licence**: Apache-2.0, as the kit.
- **Splits**: development databases are not training databases. In development questions one choice of
  wording in four is drawn from forms that training never shows. No two dialogues are alike, letter case and
  punctuation aside.
- **Likeness**: "questions whose columns are all said" below counts those all of whose columns, keys and
  labels aside and compared by word stem, have been named in the dialogue so far. SParC, counted the same
  way: 66.2% of the training and 72.4% of the development questions. Below it, of the questions on one table,
  those in whose dialogue a word of the table's name has been said; SParC: 89.2% and 90.2%, CoSQL's
  development questions 80.8%. Values said otherwise than they are
  stored are on purpose more frequent here (SParC: 5-7% of the questions), as looking them up is what an
  agent learns.
- **Rebuild**: `python -m mtsql_lib data build`; every build gives the same bytes. `data check` proves a copy.
"""

_TAIL = """## Conventions that a gold query follows

- "List the ferries" selects the column that names a ferry; several rows with the same value stay several
  rows unless the question says "different" or "only once".
- "Their price" and "show only" replace what is shown, "also" adds to it; conditions stay until they are
  dropped.
- "How many" is `count(*)`, "how many different" is `count(DISTINCT ...)`. "For each port" groups by the
  port's key and shows its name; ports without any ferry have no group.
- "Older than average" compares with the average of the whole table, whatever else was asked before.
- ORDER BY always says ASC or DESC. A result that is cut off by LIMIT does not hang on a tie.

## Known limits

- The language comes from surface forms and is plainer than a person's; nobody asks for anything that is not
  in the database, and nobody needs to be asked back.
- `IS NULL` does not occur (Spider's evaluator cannot read it), neither do arithmetic, self-joins, LEFT
  JOIN, or OR between conditions on different columns. Tables that are linked by two foreign keys (home and
  away team) are not joined.
- An order without LIMIT may leave ties, whose order is SQLite's.
"""
