"""The copying start: attention heads that can copy before the first step of training.

Text-to-SQL on unseen databases is copying: a name found in the schema or the question is written again,
piece by piece. Circuits that do so ("previous token" and "induction" heads; Elhage et al. 2021, Olsson et al.
2022) form late in ordinary training, after more tokens than two cores give in hours. Here they are written
into the fresh weights, and what is left to learn is where to look:

- embeddings share a constant part, and lie mostly outside two spaces that layer 0 writes to;
- layer 0 attends one and two places back by the phases of the rotary embedding, and notes what stood there;
- in the next two layers two heads look for the place whose noted predecessor (in the second of them: whose
  two predecessors) is the present token and write what stands there, the others look for equal tokens.

All of it can be unlearned. Left out: anything about SQL.
"""

from __future__ import annotations

import torch
from transformers import Qwen3ForCausalLM

_NEAR = 4  # rotary pairs of high frequency, which tell neighbours apart
_FAR = 300  # tokens over which two places must still match
_TURN = 0.6  # radians that a rotary pair may turn over `_FAR` tokens to count as standing still


@torch.no_grad()
def start_copying(
    model: Qwen3ForCausalLM, std: float = 0.25, write: float = 0.5, copy: float = 2.0, sharpness: float = 2.0
) -> None:
    """Write the heads into a fresh model of 4 query and 2 key-value heads and at least 3 layers.

    `std` is that of the embeddings, `write` and `copy` weigh what the heads add to the residual stream, and
    `sharpness` multiplies the attention scores of the three layers.
    """
    layers = model.model.layers
    basis = torch.nn.init.orthogonal_(torch.empty(model.config.hidden_size, model.config.hidden_size))
    size = layers[0].self_attn.head_dim
    constant, token, one_back, two_back = basis[0], *basis[1 : 1 + 3 * size].split(size)
    _place_embeddings(model, std, constant, torch.cat((one_back, two_back)))
    for layer in layers:
        _plain_copier(layer.self_attn, write)
        layer.mlp.down_proj.weight.mul_(0.25)
    frequencies = _frequencies(model)
    _look_back(layers[0].self_attn, frequencies, constant, token, (one_back, two_back), write)
    still = [pair for pair, f in enumerate(frequencies) if f * _FAR < _TURN]
    places = [place for pair in still for place in (pair, pair + size // 2)]
    for layer, spaces in ((layers[1], 1), (layers[2], 2)):
        _look_up(layer.self_attn, places, spaces, token, one_back, two_back, write, copy)
    for layer in layers[:3]:
        layer.self_attn.q_norm.weight.fill_(sharpness)


def _frequencies(model: Qwen3ForCausalLM) -> torch.Tensor:
    """Radians a place for each rotary pair, (head_dim / 2,)."""
    pairs = model.model.layers[0].self_attn.head_dim // 2
    return model.config.rope_parameters["rope_theta"] ** (-torch.arange(pairs) / pairs)


def _place_embeddings(model, std: float, constant: torch.Tensor, kept_free: torch.Tensor) -> None:
    embeddings = model.model.embed_tokens.weight
    embeddings.mul_(std / embeddings.std())
    embeddings.sub_(0.7 * (embeddings @ kept_free.T) @ kept_free)
    embeddings.add_((2.0 - embeddings @ constant)[:, None] * constant)
    model.model.norm.weight.fill_(0.1)  # logits of a fresh model stay small


def _plain_copier(attention, gain: float) -> None:
    """What a head attends to is what it writes, wherever it may learn to look."""
    values, size = attention.v_proj.weight, attention.head_dim
    torch.nn.init.orthogonal_(values)
    readers = attention.num_key_value_groups
    blocks = [values[start : start + size].T * (gain / readers) for start in range(0, len(values), size)]
    attention.o_proj.weight.copy_(torch.cat([block for block in blocks for _ in range(readers)], 1))


def _look_back(attention, frequencies, constant, token, noted, write: float) -> None:
    """Heads 0 and 1: the token one and two places back, noted in a space of its own each."""
    size = attention.head_dim
    near = torch.arange(_NEAR)
    key = torch.zeros(size)
    key[near] = 1.0
    attention.k_proj.weight[:size] = torch.outer(key, constant)
    attention.v_proj.weight[:size] = token
    for head, space in enumerate(noted):
        phase = frequencies[near] * (head + 1)  # the score peaks where the rotary embedding has turned as far
        query = torch.zeros(size)
        query[near], query[near + size // 2] = torch.cos(phase), -torch.sin(phase)
        attention.q_proj.weight[head * size : (head + 1) * size] = torch.outer(query, constant)
        attention.o_proj.weight[:, head * size : (head + 1) * size] = space.T * write


def _look_up(attention, places, spaces: int, token, one_back, two_back, write: float, copy: float) -> None:
    """Heads 0 and 1 find what came after the present token (and its predecessor), 2 and 3 equal tokens."""
    size, count = attention.head_dim, len(places)
    mix = torch.nn.init.orthogonal_(torch.empty(size, size))[:count]
    first, second = mix[: count // spaces], mix[count // spaces :]
    keys, queries = attention.k_proj.weight, attention.q_proj.weight
    after = torch.cat((first @ one_back, second @ two_back))
    now = torch.cat((first @ token, second @ one_back))
    _put(keys, 0, size, places, after)
    _put(keys, 1, size, places, mix @ token)
    for head, rows in enumerate((now, now, mix @ token, mix @ one_back)):
        _put(queries, head, size, places, rows)
        gain = copy if head < 2 else write
        attention.o_proj.weight[:, head * size : (head + 1) * size] = token.T * (gain / 2)
    attention.v_proj.weight.copy_(torch.cat((token, token)))


def _put(weight: torch.Tensor, head: int, size: int, places: list[int], rows: torch.Tensor) -> None:
    """A head's projection of `size` rows, zero but for some places."""
    weight[head * size : (head + 1) * size] = 0.0
    weight[[head * size + place for place in places]] = rows
