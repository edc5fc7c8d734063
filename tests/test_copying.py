"""A fresh base model copies before its first step: each head looks where it was made to look."""

from dataclasses import replace

import pytest
import torch

from mtsql_lib.base.model import build_model
from mtsql_lib.base.recipe import Recipe
from mtsql_lib.tokens import train_spelled_tokenizer

BLOCK, GAP = 60, 100


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    codec = train_spelled_tokenizer(["how many ports are there"], 600, tmp_path_factory.mktemp("words"))
    return build_model(replace(Recipe(), vocabulary=600, layers=4), codec, seed=0).eval()


@pytest.fixture(scope="module")
def seen(model):
    """A random block, something else, the block again: ids, attention (heads, T, T) by layer, logits."""
    torch.manual_seed(1)
    size = model.config.vocab_size
    block = torch.randperm(size)[:BLOCK]
    ids = torch.cat([block, torch.randint(size, (GAP,)), block])[None]
    model.set_attn_implementation("eager")
    with torch.no_grad():
        out = model(input_ids=ids, output_attentions=True)
    return ids[0], [layer[0] for layer in out.attentions], out.logits[0]


def looks(weights: torch.Tensor, back: int, start: int) -> float:
    """Mean attention of places from `start` on to the place so many before."""
    places = torch.arange(start, len(weights))
    return weights[places, places - back].mean().item()


def test_layer_0_looks_one_and_two_places_back(seen):
    _, attention, _ = seen
    assert looks(attention[0][0], 1, 1) > 0.8 and looks(attention[0][1], 2, 2) > 0.8


def test_the_induction_heads_look_behind_the_last_time(seen):
    _, attention, _ = seen
    back = BLOCK + GAP - 1  # the place after the one where the present token stood before
    assert min(looks(attention[1][head], back, BLOCK + GAP + 1) for head in (0, 1)) > 0.8
    assert min(looks(attention[2][head], back, BLOCK + GAP + 1) for head in (0, 1)) > 0.2


def test_what_comes_next_is_already_likely(seen):
    ids, _, logits = seen
    places = torch.arange(BLOCK + GAP + 1, len(ids) - 1)
    ranks = (logits[places] > logits[places].gather(1, ids[places + 1][:, None])).sum(1).float()
    assert ranks.median() < 10  # of 600


def test_a_fresh_model_is_not_sure_of_anything(seen):
    ids, _, logits = seen
    loss = torch.nn.functional.cross_entropy(logits[:-1], ids[1:])
    assert loss < torch.tensor(len(logits[0])).log() + 2
