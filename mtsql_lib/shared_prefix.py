"""Log-probabilities of a group's completions with the common prompt computed once.

GRPO samples several completions of one prompt. Laid side by side behind a single copy of the prompt, with a
mask that lets each completion see the prompt and itself, and positions that go on from the prompt, they give
the same log-probabilities as separate rows for about half of the tokens. Each group is one forward pass by
itself, or several where its completions are long, so its numbers do not depend on the other groups of the
batch, and nothing is padded.

What was left out: models split over processes (their trainer takes TRL's row-by-row path).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch.utils.checkpoint import checkpoint

_LARGEST_MASK = 2**26  # entries of the attention mask of one pass; larger groups are split
_PER_PROMPT = 4  # so are completions longer than this many prompts: attention's cost grows with the square
_LARGEST_LOGITS = 2**28  # logits kept for the backward pass; beyond that they are computed again there


@dataclass
class _Tree:
    """One prompt (unpadded ids), and the batch rows whose completions hang on it."""

    prompt: torch.Tensor
    rows: list[int] = field(default_factory=list)
    completions: list[torch.Tensor] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        return len(self.prompt) + sum(map(len, self.completions))

    def has_room(self, completion: int) -> bool:
        """Is a further completion of so many tokens cheaper here than behind a copy of the prompt?"""
        tokens = self.tokens + completion
        return tokens**2 <= _LARGEST_MASK and tokens <= (1 + _PER_PROMPT) * len(self.prompt)


def shared_prefix_logps(
    model,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    completion_width: int,
    temperature: float,
    wanted: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Per-token log-probs and entropies of the last `completion_width` columns, both (B, C); 0 on padding.

    `input_ids` and `attention_mask` are (B, P + C), prompts left-padded and completions right-padded;
    `wanted`, (B,) of bool, leaves the other rows out (0). The entropies carry no gradient. The model
    must be a causal language model with `.model` and `.lm_head` that takes a 4-D additive mask (Qwen3 does).
    """
    shape = (input_ids.shape[0], completion_width)
    logps = torch.zeros(shape, device=input_ids.device)
    entropies = torch.zeros_like(logps)
    for tree in _trees(input_ids, attention_mask, completion_width, wanted):
        states = _hidden(model, tree)
        values, spread = _scores(model.lm_head, states, torch.cat(tree.completions), temperature)
        lengths = list(map(len, tree.completions))
        places = [
            torch.arange(n, device=logps.device) + row * completion_width
            for row, n in zip(tree.rows, lengths, strict=True)
        ]
        at = torch.cat(places)
        logps = logps.view(-1).index_put((at,), values).view(shape)
        entropies.view(-1)[at] = spread
    return logps, entropies


def _trees(input_ids, attention_mask, completion_width: int, wanted: torch.Tensor | None) -> list[_Tree]:
    """Rows grouped by their prompt, in order of first appearance, split where a mask would grow too large."""
    open_trees: dict[tuple[int, ...], _Tree] = {}
    trees: list[_Tree] = []
    prompt_width = input_ids.shape[1] - completion_width
    for row in range(input_ids.shape[0]):
        if wanted is not None and not wanted[row]:
            continue
        real = attention_mask[row].bool()
        prompt = input_ids[row, :prompt_width][real[:prompt_width]]
        completion = input_ids[row, prompt_width:][real[prompt_width:]]
        key = tuple(prompt.tolist())
        tree = open_trees.get(key)
        if tree is None or not tree.has_room(len(completion)):
            tree = open_trees[key] = _Tree(prompt)
            trees.append(tree)
        tree.rows.append(row)
        tree.completions.append(completion)
    return trees


def _hidden(model, tree: _Tree) -> torch.Tensor:
    """The hidden state that predicts each completion token, (tokens, hidden), completion by completion."""
    device, trunk = tree.prompt.device, len(tree.prompt)
    lengths = list(map(len, tree.completions))
    ids = torch.cat([tree.prompt, *tree.completions])
    branch = torch.repeat_interleave(
        torch.arange(len(lengths) + 1, device=device), torch.tensor([trunk, *lengths], device=device)
    )
    positions = torch.cat(
        [torch.arange(trunk, device=device), *(trunk + torch.arange(n, device=device) for n in lengths)]
    )
    sees = (branch[None, :] == branch[:, None]) | (branch[None, :] == 0)
    sees &= torch.ones_like(sees).tril()
    dtype = model.dtype
    additive = torch.zeros(sees.shape, dtype=dtype, device=device).masked_fill_(~sees, torch.finfo(dtype).min)
    states = model.model(
        input_ids=ids[None],
        position_ids=positions[None],
        attention_mask=additive[None, None],
        use_cache=False,
    ).last_hidden_state[0]
    # the prompt's last token predicts the first token of every completion
    before, start = [], trunk
    for length in lengths:
        before += [trunk - 1, *range(start, start + length - 1)]
        start += length
    return states[torch.tensor(before, device=device)]


def _scores(
    head, states: torch.Tensor, ids: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-prob of each id and entropy of its distribution, both (tokens,), from hidden states."""

    def score(states: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        log_probs = (head(states).float() / temperature).log_softmax(-1)
        with torch.no_grad():
            entropy = -(log_probs.exp() * log_probs).sum(-1)
        return log_probs.gather(-1, ids[:, None])[:, 0], entropy

    vocabulary = head.weight.shape[0]
    if len(ids) * vocabulary <= _LARGEST_LOGITS:
        return score(states, ids)
    chunk = max(_LARGEST_LOGITS // (4 * vocabulary), 1)
    pieces = [
        checkpoint(score, part, wanted, use_reentrant=False)
        for part, wanted in zip(states.split(chunk), ids.split(chunk), strict=True)
    ]
    return torch.cat([logps for logps, _ in pieces]), torch.cat([spread for _, spread in pieces])
