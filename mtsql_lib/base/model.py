"""The tiny base model's network: Qwen3's architecture with a copying start, its loss and its optimisers."""

from __future__ import annotations

import shutil
from functools import cache

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from mtsql_lib.base.copying import start_copying
from mtsql_lib.base.muon import Muon
from mtsql_lib.base.recipe import Recipe
from mtsql_lib.tokens import SpelledCodec


def build_model(recipe: Recipe, codec: SpelledCodec, seed: int) -> Qwen3ForCausalLM:
    """A fresh Qwen3 of the recipe's size."""
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=codec.vocab_size,
        hidden_size=recipe.hidden,
        intermediate_size=recipe.feed_forward,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.key_value_heads,
        head_dim=recipe.head,
        max_position_embeddings=2048,
        rope_parameters={"rope_type": "default", "rope_theta": recipe.rope_theta},
        tie_word_embeddings=True,
        eos_token_id=codec.end_of_turn,
        pad_token_id=codec.pad,
        bos_token_id=None,
    )
    model = Qwen3ForCausalLM(config)
    start_copying(model)
    return model


def loss_of(
    model: Qwen3ForCausalLM, batch: dict[str, torch.Tensor], stray: float = 0.0, fused: bool = False
) -> torch.Tensor:
    """Weighted mean over the tokens with a positive weight of their cross-entropy and `stray` times the
    surprise (-log p) that the token is one of those that its row holds: what a small model makes up stands
    nowhere in its row. `fused` takes half a minute once, and then three quarters of the time.
    """
    weights = batch["weights"].roll(-1, 1)  # of the token that each place predicts
    weights[:, -1] = 0.0
    places = weights.flatten().nonzero().squeeze(1)
    torch._dynamo.mark_dynamic(places, 0)
    return (_fused() if fused else _loss)(
        model, batch["ids"], batch["positions"], batch["mask"], places, weights, stray
    )


def _loss(model, ids, positions, mask, places, weights, stray: float) -> torch.Tensor:
    states = model.model(
        input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False
    ).last_hidden_state
    logits = model.lm_head(states.flatten(0, 1)[places]).float()
    losses = torch.nn.functional.cross_entropy(logits, ids.roll(-1, 1).flatten()[places], reduction="none")
    if stray:
        held = torch.zeros(len(ids), logits.shape[1], dtype=torch.bool).scatter(1, ids, True)
        inside = logits.masked_fill(~held[places // ids.shape[1]], -torch.inf).logsumexp(1)
        losses = losses + stray * (logits.logsumexp(1) - inside)
    weights = weights.flatten()[places]
    return (losses * weights).sum() / weights.sum()


@cache
def _fused():
    return torch.compile(_loss) if shutil.which("c++") else _loss  # it writes C++


def optimizers(model: Qwen3ForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for embeddings and norms."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    rest = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        Muon(matrices, lr=recipe.learning_rate),
        torch.optim.AdamW(rest, lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def rate(step: int, recipe: Recipe) -> float:
    """Share of the learning rate at a step: linear warm-up, plateau, linear decay to a twentieth."""
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    left = (recipe.steps - step) / (recipe.steps * recipe.decay_share)
    return max(0.05, min(1.0, left))
