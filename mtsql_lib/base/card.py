"""The card of the tiny base model: what it saw, what was dialled in, and what it can do before any training.

It is measured on bundled *training* questions, as the agent that `make reproduce` starts from. Left out: the
development sets, which only the evaluation may see.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from mtsql_lib.base.recipe import Recipe
from mtsql_lib.config import Profile
from mtsql_lib.evaluation import in_trouble
from mtsql_lib.play import Player, Setting, Table, corpus_questions
from mtsql_lib.rows import Row, row_of

DATA = Path(__file__).parents[2] / "data"
QUESTIONS, SAMPLES, TEMPERATURE = 256, 4, 0.7


def card(folder: Path, target: Path, recipe: Recipe) -> str:
    """The text of the card of the model in `target`, which was trained in `folder`."""
    log = [json.loads(line) for line in (folder / "training.jsonl").read_text(encoding="utf-8").splitlines()]
    return _CARD.format(
        size=(target / "model.safetensors").stat().st_size / 1e6,
        tokens=recipe.steps * recipe.rows * recipe.row_tokens / 1e6,
        loss=log[-1]["loss"],
        steps=log[-1]["step"],
        abilities=fill(f"- **What it can do**: {abilities(target)}", 108, subsequent_indent="  "),
        rows="\n".join(f"| {f.name} | {getattr(recipe, f.name)} |" for f in dataclasses.fields(recipe)),
    )


def abilities(model: Path) -> str:
    """A sentence on what a model answers right on some bundled training questions; takes minutes."""
    profile = Profile.load("laptop")
    table = Table(profile, DATA / "database", DATA / "steps" / "tables.json")
    asked = corpus_questions(DATA / "steps", "train")
    asked = random.Random(0).sample(asked, QUESTIONS)
    player = Player(table, model)
    settings = Setting(mode="direct"), Setting(), Setting(samples=SAMPLES, temperature=TEMPERATURE)
    direct, agent, sampled = (
        [row_of(scored, table.judge) for scored in player.play(asked, setting, 0)] for setting in settings
    )
    return (
        f"on {QUESTIONS} bundled training questions, greedy, {_share(direct)} EX asked directly and "
        f"{_share(agent)} as an agent, {_asked_memory(agent)} with a look into the memory; of the episodes "
        f"that met an error or an empty result {_recovered(agent)} end right, and of sampled ones "
        f"(T = {TEMPERATURE}) {_recovered(sampled)}."
    )


def _share(rows: Sequence[Row]) -> str:
    return f"{sum(row.ex for row in rows) / len(rows):.1%}"


def _asked_memory(rows: Sequence[Row]) -> str:
    return f"{sum(row.memory_calls > 0 for row in rows) / len(rows):.0%}"


def _recovered(rows: Sequence[Row]) -> str:
    trouble = [row for row in rows if in_trouble(row)]
    return f"{sum(row.ex for row in trouble)} of {len(trouble)}"


_CARD = """# The tiny base model

A Qwen3-architecture language model of {size:.0f} MB (float16), trained from scratch by this kit (`make
base`) as the laboratory animal of the `laptop` profile: its absolute scores mean nothing, the differences
between its training stages are experiments.

- **What it saw**: {tokens:.1f} M token positions in {steps} steps, each step on fresh procedurally generated
  databases and dialogues (`mtsql_lib/world`, with the training surface forms), answered directly and acted
  out by a scripted agent (`mtsql_lib/base/transcripts.py`). Never the bundled databases or their dialogues.
- **What was dialled in**: in its last phase the scripted agent has weak habits (`weak` below): after a
  failure it repairs in only part of the cases, and it often stops without an answer (`silent`, by number of
  messages). That makes acting harder than answering, as for the paper's untrained models. The skill of
  repairing was taught before, with the habits under `skilled`.
- **Its text**: word pieces over a spelling of their own (`mtsql_lib/spelling.py`);
  `mtsql_lib.tokens.load_codec` reads it.
{abilities}
- **Last training loss**: {loss} (mean over weighted tokens).
- **Licence**: Apache-2.0.

| recipe | value |
|---|---|
{rows}
"""
