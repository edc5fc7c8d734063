"""Profiles: complete, strict, frozen, readable."""

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtsql_lib import config
from mtsql_lib.config import Profile, profile_names
from mtsql_lib.errors import KitError

KEYS = [key for key, _, _ in Profile.load("smoke").settings()]


def refused(name="smoke", **overrides):
    with pytest.raises(KitError) as caught:
        Profile.load(name, **overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_four_profiles_load_and_are_json():
    assert profile_names() == ["laptop", "qwen3-1.7b", "qwen3-4b", "smoke"]
    for name in profile_names():
        profile = Profile.load(name)
        assert profile.name == name
        assert json.loads(json.dumps(profile.as_dict()))["rl"]["clip"] == profile.rl.clip


def test_the_published_backbones_carry_the_values_of_the_paper():
    small, large = Profile.load("qwen3-1.7b"), Profile.load("qwen3-4b")
    assert dataclasses.replace(small, name="", model=large.model) == dataclasses.replace(large, name="")
    assert (small.rollout.message_limit, small.sampling.samples, small.sampling.temperature) == (4, 20, 0.7)
    assert (small.sft.learning_rate, small.rl.learning_rate, small.rl.group_size) == (5e-6, 1e-6, 5)
    assert small.rl.steps_per_bin == (60, 60, 30) and small.rl.prompts_per_step == 256


@pytest.mark.parametrize("override", [{"rl": {"group_size": 3}}, {"rl.group_size": 3}])
def test_a_section_or_a_dotted_key_overrides(override):
    changed = Profile.load("smoke", seed=7, **override)
    assert (changed.seed, changed.rl.group_size) == (7, 3)
    assert changed.rl.clip == Profile.load("smoke").rl.clip


def test_lists_become_tuples_and_ints_become_floats():
    profile = Profile.load("smoke", **{"rl.steps_per_bin": [1, 2, 3], "sft.warmup": 0})
    assert profile.rl.steps_per_bin == (1, 2, 3) and type(profile.sft.warmup) is float


def test_nothing_can_be_changed_afterwards():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Profile.load("smoke").rl.clip = 0.3


def test_an_unknown_profile_or_key_names_the_nearest():
    assert "choose one of laptop" in refused("lapdog")
    assert "did you mean rl.group_size?" in refused(rl={"group_sise": 4})
    assert "did you mean rl.group_size?" in refused(group_size=4)
    assert "is a section" in refused(rl=4)
    with pytest.raises(KitError, match="unknown key name in the overrides"):
        Profile.load("smoke", **{"name": "other"})
    assert refused(zzz=1) == "unknown key zzz in the overrides"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", "1"),
        ("seed", True),
        ("seed", -1),
        ("sft.epochs", 1.0),
        ("rl.clip", 1.5),
        ("rl.clip", float("nan")),
        ("rl.loss_type", "ppo"),
        ("rl.steps_per_bin", [1, "2", 3]),
        ("rl.steps_per_bin", 6),
        ("data.test", []),
        ("rollout.tools", ["shell"]),
        ("model.path", None),
    ],
)
def test_a_wrong_type_or_range_names_the_key_and_the_value(key, value):
    message = refused(**{key: value})
    assert message.startswith(f"{key} must be")


def test_keys_that_contradict_each_other_are_refused():
    assert "curriculum.bins" in refused(**{"curriculum.bins": 2})
    assert "max_episode_tokens" in refused(**{"rollout.max_tokens": 4000})


def test_a_profile_that_lacks_a_key_is_refused(tmp_path, monkeypatch):
    text = (config.FOLDER / "smoke.toml").read_text()
    (tmp_path / "short.toml").write_text(text.replace("clip = 0.2\n", ""))
    monkeypatch.setattr(config, "FOLDER", tmp_path)
    assert "lacks rl.clip" in refused("short")


def test_it_prints_as_a_table_of_every_key():
    profile = Profile.load("laptop")
    lines = repr(profile).splitlines()
    assert [line.split()[0] for line in lines] == KEYS
    assert len({line.index(str(value)) for line, value in zip(lines, ("laptop", 1), strict=False)}) == 1
    page = profile._repr_html_()
    assert page.count("<tr") == len(KEYS) + 1 and all(f"<code>{key}</code>" in page for key in KEYS)


@settings(max_examples=30)
@given(st.text(st.characters(codec="ascii", categories=["Ll", "Pd"]), min_size=1, max_size=20))
def test_any_other_key_is_refused(key):
    assert f"rl.{key}" in KEYS or "unknown key" in refused(**{f"rl.{key}": 1})


@settings(max_examples=30)
@given(st.sampled_from(KEYS), st.one_of(st.none(), st.integers(), st.floats(), st.text(), st.booleans()))
def test_a_value_is_kept_as_it_is_or_refused(key, value):
    """Nothing is converted silently: what loads reads back equal."""
    if key == "name":
        return
    try:
        profile = Profile.load("smoke", **{key: value})
    except KitError:
        return
    assert dict((k, v) for k, v, _ in profile.settings())[key] == value
