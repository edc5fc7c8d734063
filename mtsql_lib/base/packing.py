"""Tree packing: the dialogues on a database as one token sequence with branches, many of them in one batch.

The trunk holds the schema once, and each dialogue's earlier questions once; a branch for each turn's answer
or episode sees its trunk and itself, and its positions go on from where it leaves the trunk. So a question
costs its own tokens only.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from mtsql_lib.base.recipe import Recipe
from mtsql_lib.base.transcripts import Habits, Scene, agent_transcript, direct_transcript, plan_transcript
from mtsql_lib.environment import Environment
from mtsql_lib.memory import DialogueMemory
from mtsql_lib.tokens import SpelledCodec


@dataclass
class Tree:
    """Dialogues on one database as tokens: ids, loss weights, positions, and for each token its segment;
    `parents[s]` is the segment that s hangs on (-1: none).
    """

    ids: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    segments: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)

    def grow(self, parent: int, start: int, pieces: list[tuple[list[int], float]]) -> tuple[int, int]:
        """Add a segment after `parent` at position `start`; returns its number and the position after it."""
        segment = len(self.parents)
        self.parents.append(parent)
        for ids, weight in pieces:
            self.ids += ids
            self.weights += [weight] * len(ids)
        length = sum(len(ids) for ids, _ in pieces)
        if length:
            self.weights[-length] = (
                0.0  # in the layout it does not follow the token that it follows in the tree
            )
        self.positions += range(start, start + length)
        self.segments += [segment] * length
        return segment, start + length


def dialogue_tree(
    dialogues: list[list[Scene]], codec: SpelledCodec, rng: random.Random, agent_share: float, habits: Habits,
    own: dict[int, tuple[str, ...]] | None = None, plan_share: float = 0.0,
) -> Tree:  # fmt: skip
    """The dialogues on one database with their branches; `own` gives for a turn of the first one the model's
    own messages up to a failure, and it is then always acted. Of the direct answers, `plan_share` end after
    the plan.
    """
    tree = Tree()
    head = _prompt(dialogues[0][0], "agent").split("Q: ")[0]
    root = tree.grow(-1, 0, [(codec.encode(head), 0.0)])
    for order, turns in enumerate(dialogues):
        trunk, position = root
        for number, scene in enumerate(turns):
            failed = (own or {}).get(number, ()) if order == 0 else ()
            if not failed:
                short = rng.random() < plan_share
                lines = plan_transcript(scene) if short else direct_transcript(scene, habits)
                _branch(tree, trunk, position, scene, "direct", lines, codec)
            if failed or rng.random() < agent_share:
                lines = agent_transcript(scene, rng, habits, failed)
                _branch(tree, trunk, position, scene, "agent", lines, codec)
            asked = codec.encode(f"Q: {scene.question.utterance}\n")
            trunk, position = tree.grow(trunk, position, [(asked, 0.0)])
    return tree


def _branch(
    tree: Tree, trunk: int, position: int, scene: Scene, mode: str, lines, codec: SpelledCodec
) -> None:
    question = f"Q: {scene.question.utterance} /{mode}<|im_end|>\n<|im_start|>assistant\n"
    pieces = [(codec.encode(question), 0.0), *((codec.encode(line.text), line.weight) for line in lines)]
    tree.grow(trunk, position, pieces)


def _prompt(scene: Scene, mode: str) -> str:
    return Environment(
        scene.question,
        scene.schema,
        scene.executor,
        DialogueMemory(scene.question, scene.executor),
        mode=mode,
    ).prompt


def pack(trees: Iterator[Tree], recipe: Recipe) -> dict[str, torch.Tensor]:
    """The next batch of `rows` x `row_tokens`: ids (B, T), weights (B, T), positions (B, T), mask
    (B, 1, T, T) bool.

    Takes trees until together they fill the batch and lays them out longest first; one that then finds no
    row is left out, as are trees longer than a row.
    """
    taken: list[Tree] = []
    room = recipe.rows * recipe.row_tokens
    while room > 0:
        if len((tree := next(trees)).ids) <= recipe.row_tokens:
            taken.append(tree)
            room -= len(tree.ids)
    rows: list[list[Tree]] = [[] for _ in range(recipe.rows)]
    free = [recipe.row_tokens] * recipe.rows
    for tree in sorted(taken, key=lambda tree: -len(tree.ids)):
        fitting = [row for row in range(recipe.rows) if len(tree.ids) <= free[row]]
        if fitting:
            row = min(fitting, key=lambda row: free[row])
            rows[row].append(tree)
            free[row] -= len(tree.ids)
    return _batch(rows, recipe)


def _batch(rows: list[list[Tree]], recipe: Recipe) -> dict[str, torch.Tensor]:
    shape = (recipe.rows, recipe.row_tokens)
    ids, positions = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    weights = torch.zeros(shape)
    mask = torch.eye(recipe.row_tokens, dtype=torch.bool).repeat(recipe.rows, 1, 1)
    causal = torch.ones(recipe.row_tokens, recipe.row_tokens, dtype=torch.bool).tril()
    for row, trees in enumerate(rows):
        start = 0
        for tree in trees:
            end = start + len(tree.ids)
            ids[row, start:end] = torch.tensor(tree.ids)
            weights[row, start:end] = torch.tensor(tree.weights)
            positions[row, start:end] = torch.tensor(tree.positions)
            mask[row, start:end, start:end] = _sees(tree) & causal[: end - start, : end - start]
            start = end
    return {"ids": ids, "weights": weights, "positions": positions, "mask": mask[:, None]}


def _sees(tree: Tree) -> torch.Tensor:
    """(T, T) bool: may token q look at token k, by their segments alone."""
    count = len(tree.parents)
    related = torch.zeros(count, count, dtype=torch.bool)
    for segment in range(count):
        ancestor = segment
        while ancestor >= 0:
            related[segment, ancestor] = True
            ancestor = tree.parents[ancestor]
    segments = torch.tensor(tree.segments)
    return related[segments][:, segments]
