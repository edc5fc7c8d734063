"""From episodes to the tensors of the loss, and the ledger that holds every batch to account.

Both trainers are fed from one record: the ids that were sampled and the ids that the environment added, with
a mask that is 1 exactly on the sampled ones. A `TokenLedger` keeps that record and compares with it each
batch that reaches the loss, so ids that were re-tokenised, a mask that slipped by one, a lost end-of-turn
token or advantages of another group stop the run instead of spoiling it.

What was left out: packing several episodes into one row is TRL's (`packing=True`); the ledger reads such
batches, the kit's configurations do not make them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from mtsql_lib.environment import Episode
from mtsql_lib.errors import KitError

IGNORED = -100


@dataclass(frozen=True)
class Played:
    """The rollouts of one update, scored.

    Episodes stand group by group, in the order of the questions. `rewards[i]` is the number that the
    advantages of episode i were made from (its total for `credit.released`, its outcome for
    `credit.per_action`); `advantages[i]` has one value for each of its sampled tokens. `figures` are logged.
    """

    episodes: Sequence[Episode]
    rewards: Sequence[float]
    advantages: Sequence[Sequence[float]]
    figures: Mapping[str, float] = field(default_factory=dict)

    def check(self, questions: Sequence[str], group_size: int) -> None:
        """KitError unless these are the episodes of `questions`, and no token's advantage has another sign
        than its episode's reward against its group's mean."""
        expected = [q for q in questions for _ in range(group_size)]
        asked = [e.question_id for e in self.episodes] == expected
        if not (asked and len(expected) == len(self.rewards) == len(self.advantages)):
            raise KitError(
                f"the rollouts are not {group_size} scored episodes for each of {len(questions)} questions"
            )
        for start in range(0, len(expected), group_size):
            group = range(start, start + group_size)
            mean = sum(self.rewards[i] for i in group) / group_size
            if any(a * (self.rewards[i] - mean) < 0 for i in group for a in self.advantages[i]):
                raise KitError(
                    f"the advantages of {expected[start]} do not follow its rewards: were two groups swapped?"
                )


class TokenLedger:
    """What was sampled, by its ids: nothing is re-tokenised, shifted, swapped or lost before the loss."""

    def __init__(self, end_of_turn: int) -> None:
        self._end = end_of_turn
        self._known: dict[tuple[int, ...], set[tuple]] = {}

    def record(self, episode: Episode, advantages: Sequence[float] | None = None) -> None:
        """Remember an episode's ids and mask, and in RL the advantages of its sampled tokens.

        KitError if a message lost its end-of-turn token (only the token budget may cut it, in the last one).
        """
        # from the steps, not by `ids` and `mask` of the episode: those made the batch that is to be checked
        ids, mask = list(episode.prompt_ids), [0] * len(episode.prompt_ids)
        for number, step in enumerate(episode.steps):
            cut = episode.stop == "length" and number == len(episode.steps) - 1
            if not step.ids or (step.ids[-1] != self._end and not cut):
                where = f"message {number} of episode {episode.question_id} #{episode.sample}"
                raise KitError(f"{where} does not end with the end-of-turn token: it was lost on the way")
            ids += [*step.ids, *step.observation_ids]
            mask += [1] * len(step.ids) + [0] * len(step.observation_ids)
        entry = (tuple(mask), None if advantages is None else _rounded(advantages))
        self._known.setdefault(tuple(ids), set()).add(entry)

    def check(
        self,
        ids: torch.Tensor,
        attention: torch.Tensor,
        alive: torch.Tensor,
        advantages: torch.Tensor | None = None,
    ) -> None:
        """Compare a batch, all (B, T), with the record; KitError names the first row that differs."""
        for row in range(ids.shape[0]):
            real = attention[row].bool()
            if alive[row][~real].any():
                raise KitError(f"row {row} of the batch trains on padding")
            values = None if advantages is None else advantages[row][alive[row].bool()]
            self.check_row(row, ids[row][real], alive[row][real], values)

    def check_row(
        self, row: int, ids: torch.Tensor, alive: torch.Tensor, advantages: torch.Tensor | None = None
    ) -> None:
        """Compare one unpadded row, (T,), with the record; `advantages` are those of its alive tokens."""
        known = self._known.get(tuple(ids.tolist()))
        if known is None:
            raise KitError(
                f"row {row} of the batch holds {len(ids)} ids that no recorded episode has: they were changed"
            )
        mask = tuple(alive.int().tolist())
        if mask not in {m for m, _ in known}:
            raise KitError(
                f"row {row} of the batch trains on other tokens than the sampled ones: the mask was changed"
            )
        if advantages is not None and (mask, _rounded(advantages.tolist())) not in known:
            raise KitError(
                f"row {row} of the batch has the advantages of another episode: they were swapped on the way"
            )


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(torch.tensor(values, dtype=torch.float32).tolist())  # as they stand in the batch


def sift(episodes: Sequence[Episode], limit: int) -> tuple[list[Episode], Counter]:
    """Episodes fit to be imitated, and how many are not: `cut` by the token budget, without an `answer`,
    `malformed`, or `overlong` (more than `limit` ids after the prompt)."""
    kept, dropped = [], Counter()
    for episode in episodes:
        if episode.stop == "length":
            dropped["cut"] += 1
        elif episode.answer is None:
            dropped["unanswered"] += 1
        elif episode.malformed:
            dropped["malformed"] += 1
        elif len(episode.ids()) - len(episode.prompt_ids) > limit:
            dropped["overlong"] += 1
        else:
            kept.append(episode)
    return kept, dropped


def sft_rows(episodes: Sequence[Episode]) -> list[dict[str, list[int]]]:
    """Pre-tokenised rows: `input_ids` and `labels`, alive exactly on sampled ids."""
    rows = []
    for episode in episodes:
        ids, mask = episode.ids(), episode.mask()
        rows.append(
            {
                "input_ids": ids,
                "labels": [i if alive else IGNORED for i, alive in zip(ids, mask, strict=True)],
            }
        )
    return rows


def rows_of(inputs: Mapping[str, torch.Tensor]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The unpadded rows of an SFT batch, ids and labels, each (T,), whether TRL padded or packed them."""
    ids, labels = inputs["input_ids"], inputs["labels"]
    if "attention_mask" in inputs:
        for row, real in enumerate(inputs["attention_mask"].bool()):
            if (labels[row][~real] != IGNORED).any():
                raise KitError(f"row {row} of the batch trains on padding")
            yield ids[row][real], labels[row][real]
    else:
        starts = (inputs["position_ids"][0] == 0).nonzero().flatten().tolist()
        for start, end in zip(starts, [*starts[1:], ids.shape[1]], strict=True):
            yield ids[0, start:end], labels[0, start:end]


def batch_of(played: Played, pad: int) -> dict[str, torch.Tensor]:
    """Tensors of the GRPO loss: prompts (B, P) left-padded; completions, masks and advantages (B, C)
    right-padded; `tool_mask` is 1 on sampled ids; `sampling_per_token_logps` are the engine's."""
    prompts = [list(e.prompt_ids) for e in played.episodes]
    completions = [e.ids()[len(e.prompt_ids) :] for e in played.episodes]
    masks = [e.mask()[len(e.prompt_ids) :] for e in played.episodes]
    spread = [_spread(mask, values) for mask, values in zip(masks, played.advantages, strict=True)]
    return {
        "prompt_ids": _padded(prompts, pad, left=True),
        "prompt_mask": _padded([[1] * len(p) for p in prompts], 0, left=True),
        "completion_ids": _padded(completions, pad),
        "completion_mask": _padded([[1] * len(c) for c in completions], 0),
        "tool_mask": _padded(masks, 0),
        "advantages": _padded(spread, 0.0),
        "sampling_per_token_logps": _padded(
            [_spread(mask, _logprobs(e)) for mask, e in zip(masks, played.episodes, strict=True)], 0.0
        ),
    }


def _logprobs(episode: Episode) -> list[float]:
    """The engine's log-probability of each sampled token, NaN for messages that were not sampled by one."""
    unknown = float("nan")
    return [p for step in episode.steps for p in step.logprobs or [unknown] * len(step.ids)]


def _spread(mask: list[int], values: Sequence[float]) -> list[float]:
    """Values of the sampled tokens at their places among all completion tokens, 0 elsewhere."""
    if sum(mask) != len(values):
        raise KitError(f"{len(values)} advantages or log-probabilities for {sum(mask)} sampled tokens")
    remaining = iter(values)
    return [float(next(remaining)) if alive else 0.0 for alive in mask]


def _padded(rows: list[list], value: float, left: bool = False) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor(
        [[value] * (width - len(r)) + list(r) if left else list(r) + [value] * (width - len(r)) for r in rows]
    )
