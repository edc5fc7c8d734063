"""The base model's training: its recipe, its batches, its own failures, and what an update leaves alone."""

import dataclasses
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from mtsql_lib.base.practice import collect_own_failures, world_scenes
from mtsql_lib.base.pretrain import _keep_absent, _keep_recipe, batch_at
from mtsql_lib.base.recipe import Recipe
from mtsql_lib.errors import KitError
from mtsql_lib.protocol import parse_message
from mtsql_lib.tokens import load_codec
from mtsql_lib.trainer import load_model

pytestmark = pytest.mark.slow
MODEL = "data/models/tiny"


def test_another_recipe_or_seed_is_refused(tmp_path):
    recipe = Recipe()
    _keep_recipe(tmp_path, recipe, 0)
    _keep_recipe(tmp_path, recipe, 0)
    for other, seed in ((dataclasses.replace(recipe, steps=5), 0), (recipe, 1)):
        with pytest.raises(KitError, match="another recipe or seed"):
            _keep_recipe(tmp_path, other, seed)


@pytest.mark.parametrize("step", [0, 600, Recipe().steps - 1])
def test_a_batch_depends_on_seed_and_step_alone(step):
    codec, recipe = load_codec(MODEL), Recipe()
    first, again = (batch_at(step, codec, recipe, 0, []) for _ in range(2))
    other = batch_at(step, codec, recipe, 1, [])
    assert all(first[name].equal(again[name]) for name in first) and not first["ids"].equal(other["ids"])
    assert first["ids"].shape == (recipe.rows, recipe.row_tokens) and (first["weights"] > 0).any(1).all()


def test_pieces_that_a_batch_does_not_hold_get_no_gradient():
    model, codec = load_model(MODEL), load_codec(MODEL)
    ids = batch_at(0, codec, Recipe(), 0, [])["ids"]
    weight = model.get_input_embeddings().weight
    model(input_ids=ids[:1], labels=ids[:1]).loss.backward()
    assert weight.grad.any(1).all(), "the softmax pushes every piece"
    held = weight.grad[ids[0].unique()].clone()
    _keep_absent(model, ids[:1])
    assert weight.grad.any(1).sum() == len(ids[0].unique()) and weight.grad[ids[0].unique()].equal(held)


def test_generated_databases_answer_in_any_thread():
    scene = world_scenes(random.Random(3))[0]
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(scene.executor.execute, "", scene.question.gold).result().ok


def test_own_failures_end_with_a_call_that_fails_and_some_take_several_messages():
    found = collect_own_failures(load_model(MODEL), load_codec(MODEL), "test", 12, 0.6)
    begun = []
    for failure in found:
        scenes = world_scenes(random.Random(failure.seed), strange=0.6)
        begun += [(scenes[turn], messages) for turn, messages in failure.begun]
    assert {len(messages) for _, messages in begun} <= {1, 2, 3} and any(len(m) > 1 for _, m in begun)
    for scene, messages in begun:
        outcome = scene.executor.execute("", parse_message(messages[-1]).calls[-1].code)
        assert not outcome.ok or outcome.kind == "empty"
