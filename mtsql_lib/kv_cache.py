"""Keys and values of the tokens seen so far, one slot a row, and the attention that reads them.

The idea: a forward pass computes a flat list of tokens, any number from any row, so prompts, tool results and
single sampled tokens all go the same way. The model is transformers' own; only its attention function is
exchanged for `attend` while a rollout runs, so every architecture that dispatches through transformers'
attention interface with full causal attention works (Qwen3, Llama, ...; adapters included). Left out: sliding
windows, paging, quantised caches.

A row's numbers do not depend on its neighbours as far as the matrix library allows: at least `SMALLEST`
tokens a pass keep it on one kernel, and the keys are padded to a multiple of `GRID`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

SMALLEST = 16
GRID = 128


class KeyValueCache:
    """One tensor (layers, 2, slots, key-value heads, length, head dimension), in the model's dtype."""

    def __init__(self, model: torch.nn.Module, slots: int, length: int):
        config = model.config
        heads = config.num_key_value_heads
        dimension = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.groups = config.num_attention_heads // heads
        self.slots, self.length = slots, -(-(length + 1) // GRID) * GRID
        shape = (config.num_hidden_layers, 2, slots, heads, self.length, dimension)
        # zeros, not empty: a masked key still takes part with weight 0, and 0 x NaN would be NaN
        self.store = torch.zeros(shape, dtype=model.dtype, device=model.device)

    def copy(self, source: int, targets: Sequence[int], length: int) -> None:
        """Give the first `length` positions of a slot to other slots."""
        self.store[:, :, list(targets), :, :length] = self.store[:, :, source : source + 1, :, :length]

    def swap(self, first: Sequence[int], second: Sequence[int], length: int) -> None:
        """Exchange the first `length` positions of slots pairwise."""
        here, there = [*first, *second], [*second, *first]
        self.store[:, :, here, :, :length] = self.store[:, :, there, :, :length]


class Chunk:
    """The tokens of one forward pass: of each slot, `counts` tokens from position `starts` on.

    `slots` is either a list or an int n, which means slots 0 to n - 1 and reads the cache without copying it.
    """

    def __init__(
        self, cache: KeyValueCache, slots: Sequence[int] | int, starts: Sequence[int], counts: Sequence[int]
    ):
        device = cache.store.device
        starts, counts = np.asarray(starts), np.asarray(counts)
        self.rows, self.width, self.tokens = len(starts), int(counts.max()), int(counts.sum())
        row = np.repeat(np.arange(self.rows), counts)
        column = np.arange(self.tokens) - np.repeat(np.cumsum(counts) - counts, counts)
        place = row if isinstance(slots, int) else np.asarray(slots)[row]
        arrays = (row, column, place, starts[row] + column)
        self.row, self.column, self.slot, self.position = (torch.from_numpy(a).to(device) for a in arrays)
        self.chosen = slice(0, slots) if isinstance(slots, int) else torch.tensor(slots, device=device)
        self.reach = min(-(-int((starts + counts).max()) // GRID) * GRID, cache.length)
        self.mask = self._mask(torch.from_numpy(starts).to(device), cache)

    def _mask(self, starts: torch.Tensor, cache: KeyValueCache) -> torch.Tensor:
        """Added to the scores, (rows, 1, 1 or groups x width, reach): a token sees up to its own position."""
        own = starts[:, None] + torch.arange(self.width, device=starts.device)
        hidden = torch.arange(self.reach, device=starts.device) > own[:, :, None]
        mask = torch.zeros(hidden.shape, dtype=cache.store.dtype, device=starts.device)
        mask.masked_fill_(hidden, -torch.inf)
        return (mask if self.width == 1 else mask.repeat(1, cache.groups, 1)).unsqueeze(1)

    def padded(self, ids: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and positions for the model, shape (1, max(tokens, SMALLEST))."""
        spare = max(SMALLEST - self.tokens, 0)
        tokens = torch.tensor(ids, device=self.position.device)
        return F.pad(tokens, (0, spare))[None], F.pad(self.position, (0, spare))[None]


def attend(
    module, query, key, value, attention_mask, *, cache: KeyValueCache, chunk: Chunk, scaling: float, **_
):
    """Attention function for transformers: write the chunk's keys and values, then read each row's own slot.

    Query (1, heads, tokens, dimension), key and value with the key-value heads; returns (1, tokens, heads,
    dimension) and None. Queries that share a key-value head lie side by side: one read serves them.
    """
    n, rows, width, groups = chunk.tokens, chunk.rows, chunk.width, cache.groups
    keys, values = cache.store[module.layer_idx]
    keys[chunk.slot, :, chunk.position] = key[0, :, :n].transpose(0, 1)
    values[chunk.slot, :, chunk.position] = value[0, :, :n].transpose(0, 1)
    heads, dimension = keys.shape[1], keys.shape[3]
    wide = query[0, :, :n].transpose(0, 1).reshape(n, heads, groups, dimension)
    if width > 1:
        square = wide.new_zeros(rows, width, heads, groups, dimension)
        square[chunk.row, chunk.column] = wide
        wide = square.permute(0, 2, 3, 1, 4).reshape(rows, heads, groups * width, dimension)
    seen = (part[:, :, : chunk.reach][chunk.chosen] for part in (keys, values))
    out = F.scaled_dot_product_attention(wide, *seen, attn_mask=chunk.mask, scale=scaling)
    if width > 1:
        out = out.view(rows, heads, groups, width, dimension)[chunk.row, :, :, chunk.column]
    result = query.new_zeros(1, query.shape[2], heads * groups, dimension)
    result[0, :n] = out.reshape(n, heads * groups, dimension)
    return result, None
