"""Tree packing changes nothing but the cost: a branch sees its trunk and itself, as if it stood alone."""

import random
from dataclasses import replace
from itertools import repeat

import pytest
import torch

from mtsql_lib.base.model import build_model, loss_of
from mtsql_lib.base.packing import Tree, dialogue_tree, pack
from mtsql_lib.base.practice import world_scenes
from mtsql_lib.base.recipe import Recipe
from mtsql_lib.base.transcripts import SKILLED
from mtsql_lib.tokens import train_spelled_tokenizer

RECIPE = replace(Recipe(), vocabulary=900, hidden=64, layers=3, head=16, feed_forward=96, rows=2)


@pytest.fixture(scope="module")
def codec(tmp_path_factory):
    rng = random.Random(1)
    texts = [scene.question.gold for _ in range(20) for scene in world_scenes(rng)]
    return train_spelled_tokenizer(texts, RECIPE.vocabulary, tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def tree(codec):
    for seed in range(50):
        turns = world_scenes(random.Random(seed), most_columns=9)
        found = dialogue_tree([turns], codec, random.Random(seed), 1.0, SKILLED)
        if len(turns) > 1 and len(found.ids) <= RECIPE.row_tokens:
            return found
    raise AssertionError("no dialogue fits")


def path_to(tree, segment):
    """Places of the tokens that a segment sees, its own included, in order."""
    line = []
    while segment >= 0:
        line = [i for i, s in enumerate(tree.segments) if s == segment] + line
        segment = tree.parents[segment]
    return line


def test_every_branch_gives_the_hidden_states_of_a_plain_sequence(codec, tree):
    model = build_model(RECIPE, codec, seed=0).eval()
    batch = pack(repeat(tree), RECIPE)
    additive = torch.zeros(batch["mask"].shape).masked_fill_(~batch["mask"], torch.finfo(torch.float32).min)
    with torch.no_grad():
        packed = model.model(
            input_ids=batch["ids"], position_ids=batch["positions"], attention_mask=additive, use_cache=False
        ).last_hidden_state[0]
        for segment in range(len(tree.parents)):
            places = path_to(tree, segment)
            alone = model.model(input_ids=torch.tensor([[tree.ids[i] for i in places]]), use_cache=False)
            assert torch.allclose(packed[places], alone.last_hidden_state[0], atol=2e-5)
            assert [tree.positions[i] for i in places] == list(range(len(places)))


def filler():
    length = RECIPE.row_tokens
    return Tree([1] * length, [0.0] * length, list(range(length)), [0] * length, [-1])


def test_the_loss_is_on_the_assistants_tokens_and_on_no_first_token_of_a_segment(codec, tree):
    starts = {tree.segments.index(s) for s in set(tree.segments)}
    assert all(tree.weights[i] == 0 for i in starts)
    trained = codec.decode([i for i, w in zip(tree.ids, tree.weights, strict=True) if w > 0])
    assert "<answer_sql>" in trained and "<|im_end|>" in trained and "<|im_start|>user" not in trained


def test_a_dialogue_that_is_too_long_is_left_out():
    long = filler()
    long.ids.append(1)
    long.ids[0] = 7
    batch = pack(iter([long, filler(), filler(), filler()]), RECIPE)
    assert batch["ids"].shape == (RECIPE.rows, RECIPE.row_tokens)
    assert not (batch["ids"] == 7).any()


def test_a_batch_is_filled_longest_first(codec, tree):
    short = Tree([5] * 20, [0.0] * 20, list(range(20)), [0] * 20, [-1])
    trees = iter([short, short, filler(), filler(), short])
    assert (pack(trees, RECIPE)["ids"] == 1).all()
    assert len(list(trees)) == 1  # it stopped asking when the batch was full


def test_loss_and_gradients_reach_every_layer(codec, tree):
    model = build_model(RECIPE, codec, seed=0)
    loss = loss_of(model, pack(repeat(tree), RECIPE))
    loss.backward()
    assert loss.item() == pytest.approx(loss.item()) and loss.item() > 0
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_a_direct_answer_may_end_after_its_plan(codec):
    turns = world_scenes(random.Random(4), most_columns=9)

    def text(plan_share):
        tree = dialogue_tree([turns], codec, random.Random(0), 0.0, SKILLED, plan_share=plan_share)
        return codec.decode(tree.ids)

    assert text(0.0).count("</think>") == text(0.0).count("</answer_sql>") == len(turns)
    assert text(1.0).count("</think>") == len(turns) and "<answer_sql>" not in text(1.0)
