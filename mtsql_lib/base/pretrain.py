"""The tiny base model, from scratch: `make base`.

Trained online on generated databases and dialogues (`practice.py`) and on the scripted agent's transcripts
(`transcripts.py`), packed as trees (`packing.py`). It never sees the bundled databases or their dialogues.
The loss is taken on the assistant's tokens with the weights of the transcript. Late in training the model's
own failures join the script's mistakes.

What was left out: dropout, weight averaging, evaluation while it trains.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from mtsql_lib.base.card import card
from mtsql_lib.base.model import build_model, loss_of, optimizers, rate
from mtsql_lib.base.muon import has_bfloat16
from mtsql_lib.base.packing import Tree, dialogue_tree, pack
from mtsql_lib.base.practice import OwnFailure, collect_own_failures, world_dialogues, world_scenes
from mtsql_lib.base.recipe import Recipe
from mtsql_lib.base.transcripts import Habits
from mtsql_lib.errors import KitError
from mtsql_lib.store import atomic_write
from mtsql_lib.tokens import SpelledCodec, load_codec, train_spelled_tokenizer

ROOT = Path(__file__).parents[2]
SAVE_EVERY = 100
_SHIPPED = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")


def batch_at(
    step: int, codec: SpelledCodec, recipe: Recipe, seed: int, pool: list[OwnFailure]
) -> dict[str, torch.Tensor]:
    """The batch of a step; it depends on seed, step and pool alone, so a run resumes where it stopped."""
    rng = random.Random(f"{seed} batch {step}")

    habits = recipe.skilled if step < recipe.weak_from else recipe.weak
    habits = dataclasses.replace(habits, plan=step >= recipe.plan_from)
    agent_share = recipe.agent_share if step >= recipe.agent_from else recipe.early_agent_share
    strange = recipe.strange if step >= recipe.familiar_from else 1.0
    most_columns = 99 if step >= recipe.small_until else recipe.small_columns
    if step < recipe.tiny_until:
        most_columns = recipe.tiny_columns

    def trees() -> Iterator[Tree]:
        while True:
            if pool and rng.random() < recipe.own_share:
                failure = rng.choice(pool)
                dialogues, own = (
                    [world_scenes(random.Random(failure.seed), strange=strange)],
                    dict(failure.begun),
                )
            else:
                dialogues, own = world_dialogues(rng, recipe.dialogues, most_columns, strange), {}
            yield _fitting(dialogues, codec, rng, agent_share, habits, own, recipe)

    return pack(trees(), recipe)


def _fitting(dialogues, codec, rng, agent_share: float, habits: Habits, own, recipe: Recipe) -> Tree:
    """The tree of as many of the dialogues as a row holds; a long one is acted out in part."""
    plan_share = recipe.plan_only if habits.plan else 0.0
    for count in range(len(dialogues), 0, -1):
        for share in (agent_share, agent_share / 3, 0.0):
            tree = dialogue_tree(dialogues[:count], codec, rng, share, habits, own, plan_share)
            if len(tree.ids) <= recipe.row_tokens:
                return tree
    return tree


class Batches:
    """The batches from a step on, each made in a process beside the training while the one before is used."""

    def __init__(self, folder: Path, recipe: Recipe, seed: int):
        self.parts = folder, recipe, seed
        self.worker = ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, (1,))
        self.ahead: tuple[int, int, Future] | None = None

    def at(self, step: int, pool: list[OwnFailure]) -> dict[str, torch.Tensor]:
        """The batch of a step; the next one with the same pool is begun."""
        if self.ahead and self.ahead[:2] == (step, len(pool)):
            batch = self.ahead[2].result()
        else:
            batch = self._begin(step, pool).result()
        self.ahead = step + 1, len(pool), self._begin(step + 1, pool)
        return {name: torch.from_numpy(array) for name, array in batch.items()}

    def _begin(self, step: int, pool: list[OwnFailure]) -> Future:
        return self.worker.submit(_arrays, step, *self.parts, pool)


def _arrays(step: int, folder: Path, *parts) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in batch_at(step, _codec(folder), *parts).items()}


_codec = cache(load_codec)


def train(folder: Path, recipe: Recipe, seed: int = 0) -> None:
    """Train from scratch or from the last saved step in `folder`; writes tokenizer, model, `training.jsonl`
    and `recipe.json`. KitError if the folder holds the training of another recipe or seed.
    """
    _keep_recipe(folder, recipe, seed)
    codec = _tokenizer(folder, recipe, seed)
    model = build_model(recipe, codec, seed)
    optimizer = optimizers(model, recipe)
    step, pool = _resume(folder, model, optimizer)
    batches = Batches(folder, recipe, seed)
    started = time.time()
    while step < recipe.steps:
        if step in recipe.own_at:
            pool = collect_own_failures(
                model, codec, f"{seed} own {step}", recipe.own_dialogues, recipe.strange
            )
        loss = _update(model, optimizer, batches.at(step, pool), rate(step, recipe), recipe)
        step += 1
        if step % 10 == 0:
            _log(
                folder,
                {
                    "step": step,
                    "loss": round(loss, 4),
                    "pool": len(pool),
                    "seconds": round(time.time() - started, 1),
                },
            )
        if step % SAVE_EVERY == 0 or step == recipe.steps:
            _save(folder, model, optimizer, step, pool)
    batches.worker.shutdown(cancel_futures=True)


def _update(model, optimizer, batch, share: float, recipe: Recipe) -> float:
    with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16()):
        loss = loss_of(model, batch, recipe.stray, fused=True)
    loss.backward()
    _keep_absent(model, batch["ids"])
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for one in optimizer:
        for group in one.param_groups:
            group["lr"] = recipe.learning_rate * share
        one.step()
        one.zero_grad(set_to_none=True)
    return loss.item()


def _keep_absent(model, ids: torch.Tensor) -> None:
    """Pieces that the batch does not hold keep their embeddings. A softmax pushes what it does not want away
    a little in every step, and Adam makes full steps of it: in time all rare pieces are the same vector.
    """
    gradient = model.get_input_embeddings().weight.grad
    absent = torch.ones(len(gradient), dtype=torch.bool)
    absent[ids.flatten()] = False
    gradient[absent] = 0.0


def _keep_recipe(folder: Path, recipe: Recipe, seed: int) -> None:
    text = json.dumps(dataclasses.asdict(recipe) | {"seed": seed}, indent=1) + "\n"
    path = folder / "recipe.json"
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise KitError(f"{folder} holds the training of another recipe or seed: remove it, or give --work")
    atomic_write(path, text)


def _tokenizer(folder: Path, recipe: Recipe, seed: int) -> SpelledCodec:
    if (folder / "tokenizer.json").exists():
        return load_codec(folder)
    rng = random.Random(f"{seed} tokenizer")

    def texts() -> Iterator[str]:
        for _ in range(4000):
            for scene in (turns := world_scenes(rng)):
                yield scene.question.utterance
                yield scene.question.gold
            yield turns[0].schema.linear("compact")

    return train_spelled_tokenizer(texts(), recipe.vocabulary, folder)


def _save(folder: Path, model, optimizer, step: int, pool: list[OwnFailure]) -> None:
    state = {
        "step": step,
        "pool": [dataclasses.asdict(failure) for failure in pool],
        "model": model.state_dict(),
        "optimizer": [one.state_dict() for one in optimizer],
    }
    torch.save(state, folder / "training.pt.tmp")
    (folder / "training.pt.tmp").replace(folder / "training.pt")
    model.save_pretrained(folder)


def _resume(folder: Path, model, optimizer) -> tuple[int, list[OwnFailure]]:
    path = folder / "training.pt"
    if not path.exists():
        return 0, []
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    for one, saved in zip(optimizer, state["optimizer"], strict=True):
        one.load_state_dict(saved)
    pool = [OwnFailure(f["seed"], tuple((n, tuple(said)) for n, said in f["begun"])) for f in state["pool"]]
    return state["step"], pool


def _log(folder: Path, entry: dict) -> None:
    with (folder / "training.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
    print(json.dumps(entry), flush=True)


def ship(folder: Path, target: Path, recipe: Recipe) -> None:
    """Copy the trained model to `target`, weights in float16, measure it, and write its card. The files are
    replaced once all are there.
    """
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".ship-", dir=target) as staging:
        fresh = Path(staging)
        for name in _SHIPPED:
            shutil.copyfile(folder / name, fresh / name)
        weights = {name: weight.half() for name, weight in load_file(folder / "model.safetensors").items()}
        save_file(weights, fresh / "model.safetensors", metadata={"format": "pt"})
        (fresh / "CARD.md").write_text(card(folder, fresh, recipe), encoding="utf-8")
        for path in sorted(fresh.iterdir()):
            path.replace(target / path.name)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the `base` command."""
    parser.add_argument("--out", default="data/models/tiny", help="folder of the shipped model")
    parser.add_argument(
        "--work", default="runs/base", help="folder of the training; an interrupted one goes on"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=0, help="so many to try it out; nothing is shipped")


def main(args: argparse.Namespace) -> int:
    """Train and ship the base model; hours on two cores."""
    if args.steps < 0:
        raise KitError(f"--steps {args.steps}: give a positive number, or leave it out")
    recipe = Recipe(steps=args.steps) if args.steps else Recipe()
    train(ROOT / args.work, recipe, args.seed)
    if not args.steps:
        ship(ROOT / args.work, ROOT / args.out, recipe)
    return 0
