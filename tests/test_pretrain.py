"""A training of the base model goes on only with the recipe that it was begun with."""

import dataclasses

import pytest

from mtsql_lib.base.pretrain import _keep_recipe, batch_at
from mtsql_lib.base.recipe import Recipe
from mtsql_lib.errors import KitError
from mtsql_lib.tokens import load_codec

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
