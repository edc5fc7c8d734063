"""A run: a profile, a folder, and what all stages need of both.

A stage reads what earlier ones left in the run folder, writes its own files and episodes, and ends with a
manifest (`store.stage`). Called again it returns the same result without work; interrupted, it goes on.
Training questions are those of the profile's training corpus less the held-out dialogues, on which
checkpoints are chosen; development sets are played by `systems.evaluate` alone.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from mtsql_lib import sampling
from mtsql_lib.config import Profile
from mtsql_lib.dialogues import Question, find_split
from mtsql_lib.environment import Episode
from mtsql_lib.errors import KitError
from mtsql_lib.play import Player, Scored, Setting, Table, corpus_questions, whole_dialogues
from mtsql_lib.records import from_row, to_row
from mtsql_lib.runner import run_folder
from mtsql_lib.store import RunStore, sha256_file, sha256_of

ROOT = Path(__file__).parent.parent


@dataclass
class Run:
    """One run: a profile, a folder, and what both need."""

    profile: Profile
    folder: Path
    tables: dict[str, Table] = field(default_factory=dict)

    @cached_property
    def store(self) -> RunStore:
        """The run's SQLite file."""
        return RunStore(self.folder / "run.db")

    @cached_property
    def questions(self) -> dict[str, Question]:
        """Training questions by id, held-out dialogues included."""
        return {
            q.id: q
            for q in corpus_questions(_path(self.profile.data.corpora) / self.profile.data.train, "train")
        }

    @cached_property
    def held_out(self) -> list[Question]:
        """Questions of the training dialogues that are kept aside to choose checkpoints."""
        dialogues = sorted({q.dialogue_id for q in self.questions.values()})
        kept = set(
            random.Random(f"{self.profile.seed} held out").sample(
                dialogues, min(self.profile.rl.held_out, len(dialogues))
            )
        )
        return [q for q in self.questions.values() if q.dialogue_id in kept]

    @cached_property
    def pool(self) -> list[str]:
        """Ids of the questions to train on, in a seeded order."""
        aside = {q.id for q in self.held_out}
        ids = [i for i in self.questions if i not in aside]
        random.Random(f"{self.profile.seed} pool").shuffle(ids)
        return ids

    def table(self, corpus: str) -> Table:
        """The playing table of a corpus."""
        if corpus not in self.tables:
            folder = _path(self.profile.data.corpora) / corpus
            self.tables[corpus] = Table(
                self.profile, _path(self.profile.data.databases), folder / "tables.json"
            )
        return self.tables[corpus]

    def checkpoint(self, name: str) -> Path:
        """The model folder of a checkpoint: `base`, or what a training stage made (for RL: the step chosen
        on held-out dialogues).
        """
        if name == "base":
            return _path(self.profile.model.path)
        folder = self.folder / name / "model"
        chosen = self.folder / name / "chosen.json"
        if chosen.is_file():
            folder = folder / json.loads(chosen.read_text(encoding="utf-8"))["checkpoint"]
        if not (folder / "config.json").is_file():
            raise KitError(
                f"no checkpoint {name} in {self.folder}: run that stage first (make reproduce runs all)"
            )
        return folder

    def player(self, name: str, corpus: str = "") -> Player:
        """The model of a checkpoint at the table of a corpus (default: the training corpus)."""
        return Player(self.table(corpus or self.profile.data.train), self.checkpoint(name))

    def __repr__(self) -> str:
        return f"run {self.folder.name}: profile {self.profile.name}, seed {self.profile.seed}"


def corpus_folder(run: Run, corpus: str) -> Path:
    """The folder of a corpus of the run."""
    return _path(run.profile.data.corpora) / corpus


def development(run: Run, corpus: str) -> list[Question]:
    """The development questions of a corpus that every system of the run is asked."""
    everything = corpus_questions(corpus_folder(run, corpus), "dev")
    return whole_dialogues(everything, run.profile.evaluation.questions)


def open_run(profile: str = "laptop", seed: int = 1, folder: str = "", overrides: str = "{}") -> Run:
    """A run from a notebook's parameters; `overrides` is a JSON object of profile keys."""
    changes = json.loads(overrides)
    loaded = Profile.load(profile, seed=seed, **changes)
    set_threads(loaded.threads)
    return Run(loaded, _path(folder or run_folder(profile, seed, changes)))


def set_threads(wanted: int) -> int:
    """Set torch's threads; 0 takes the cores that are idle now (two threads beside a busy core wait for
    each other).
    """
    import torch

    idle = max(1, (os.cpu_count() or 1) - int(os.getloadavg()[0] + 0.3))
    torch.set_num_threads(wanted or min(idle, 8))
    return torch.get_num_threads()


def play_through(
    run: Run, name: str, checkpoint: str, asked, setting: Setting, corpus: str = "", quiet: bool = False
) -> list[Scored]:
    """Play through the store: what an interrupted run has left is taken as it is."""
    from mtsql_lib.rollout import Progress

    known_questions = {q.id: q for q in asked}
    known = {}
    for row in run.store.episodes(name):
        if row["question_id"] in known_questions:
            known[row["question_id"], row["sample"]] = from_row(row, known_questions[row["question_id"]])
    stream = int(digest_of([run.profile.seed, name])[:15], 16)  # no stage repeats the luck of another
    return run.player(checkpoint, corpus).play(
        asked,
        setting,
        stream,
        keep=lambda batch: run.store.add_episodes(to_row(name, s) for s in batch),
        known=lambda question_id, sample: known.get((question_id, sample)),
        progress=None if quiet else Progress(name),
    )


def by_question(scored: Sequence[Scored]) -> dict[str, list[sampling.Sampled]]:
    groups: dict[str, list[sampling.Sampled]] = {}
    for s in scored:
        groups.setdefault(s.question.id, []).append(
            sampling.Sampled(s.episode, bool(s.score.ex and s.score.em))
        )
    return groups


def log_training(run: Run, name: str, target: Path, first_step: int = 0) -> None:
    """The trainer's log into the store's metrics."""
    for line in (target / "log.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if "step" in entry:
            values = {k: v for k, v in entry.items() if isinstance(v, int | float) and k != "step"}
            run.store.add_metrics(name, first_step + entry["step"], values)


def config_of(run: Run, *sections: str) -> dict:
    everything = run.profile.as_dict()
    return {section: everything[section] for section in sections}


def corpus_hash(run: Run, corpus: str = "", split: str = "train") -> str:
    """sha256 over what episodes on a corpus (default: the training corpus) depend on: dialogues, tables.json
    and databases.
    """
    folder = corpus_folder(run, corpus or run.profile.data.train)
    tables, databases = folder / "tables.json", run.table(corpus or run.profile.data.train).databases
    files = [sha256_file(find_split(folder, split)), _databases_hash(databases)]
    return sha256_of([*files, sha256_file(tables) if tables.is_file() else ""])


@cache
def _databases_hash(folder: Path) -> str:
    return sha256_of(
        {p.relative_to(folder).as_posix(): sha256_file(p) for p in sorted(folder.glob("*/*.sqlite"))}
    )


def digest_of(value) -> str:
    return sha256_of([e.ids() + e.mask() if isinstance(e, Episode) else e for e in value])


def _path(text: str) -> Path:
    path = Path(text)
    return path if path.is_absolute() else ROOT / path
