"""Profiles: every number that a run depends on, as frozen dataclasses that print well.

A profile is one TOML file in `profiles/`, complete in itself, so that reading it tells the whole run; the
dataclasses below say what each key means and what it may be. Nothing is converted, guessed or ignored: an
unknown key, a wrong type or a value out of range is a KitError that names the key. Left out on purpose:
inheritance between profiles and environment variables.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from html import escape
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from mtsql_lib.errors import KitError

FOLDER = Path(__file__).parent / "profiles"


def key(help: str, low: float | None = None, high: float | None = None, choices: tuple[str, ...] = ()) -> Any:
    """A key of a section: what it means and the values it may take (for a tuple: each of its entries)."""
    return dataclasses.field(metadata={"help": help, "low": low, "high": high, "choices": choices})


@dataclass(frozen=True)
class Data:
    corpora: str = key("folder with one folder for each corpus (tables.json, train.json, dev.json)")
    train: str = key("corpus that is trained on; the others are out of domain")
    test: tuple[str, ...] = key("corpora whose development sets are evaluated")
    databases: str = key("folder of databases, <id>/<id>.sqlite")


@dataclass(frozen=True)
class Model:
    path: str = key("folder of the base model; its tokenizer decides the codec")
    dtype: str = key("number format of weights and activations", choices=("float32", "bfloat16"))
    lora_rank: int = key("rank of the LoRA adapters; 0 trains all weights", 0, 512)


@dataclass(frozen=True)
class Rollout:
    message_limit: int = key("assistant messages an episode may have (paper: 4)", 1, 20)
    tools: tuple[str, ...] = key("tools that the agent may call", choices=("exec_sql", "memory_retrieve"))
    templates: str = key("set of prompt templates", choices=("compact", "full"))
    max_tokens: int = key("sampled tokens in one message", 8, 32768)
    max_episode_tokens: int = key("tokens of an episode after its prompt", 64, 131072)
    batch_rows: int = key("episodes that are generated side by side", 1, 65536)


@dataclass(frozen=True)
class Sampling:
    rounds: int = key("rounds of sampling and fine-tuning (paper: 3)", 1, 20)
    samples: int = key("episodes for each question and round (paper: 20)", 1, 1000)
    temperature: float = key("sampling temperature (paper: 0.7)", 0.0, 5.0)
    questions: int = key("questions drawn for a round out of those still unsolved; 0 takes all", 0)
    keep_easy: int = key("short trajectories kept of an easy or always solved question (paper: 2)", 1, 100)
    keep_hard: int = key("long trajectories kept of any other, one a cluster (paper: 3)", 1, 100)
    by_difficulty: bool = key("select so; else keep the first keep_hard of every question (paper: yes)")


@dataclass(frozen=True)
class SFT:
    learning_rate: float = key("peak learning rate, cosine decay", 0.0, 1.0)
    epochs: int = key("passes over the kept trajectories in each round", 1, 100)
    batch_size: int = key("trajectories for one update", 1, 4096)
    warmup: float = key("share of the updates with rising learning rate", 0.0, 1.0)


@dataclass(frozen=True)
class Curriculum:
    questions: int = key("training questions whose difficulty is measured; 0 takes all", 0)
    samples: int = key("episodes for each question to measure it (paper: 20)", 1, 1000)
    temperature: float = key("sampling temperature of the measurement", 0.0, 5.0)
    bins: int = key("bins from easy to hard (paper: 3)", 1, 20)


@dataclass(frozen=True)
class RL:
    steps_per_bin: tuple[int, ...] = key("updates on each bin, easy to hard", 0, 100_000)
    prompts_per_step: int = key("questions for one update", 1, 65536)
    group_size: int = key("episodes for each question (paper: 5)", 2, 1024)
    learning_rate: float = key("constant learning rate", 0.0, 1.0)
    temperature: float = key("sampling temperature", 0.01, 5.0)
    beta: float = key("weight of the KL term to the starting model; 0 switches it off", 0.0, 10.0)
    clip: float = key("clipping range of the probability ratio", 0.0, 1.0)
    loss_type: str = key("how TRL averages the loss", choices=("grpo", "dr_grpo", "bnpo", "dapo"))
    credit: str = key(
        "tokens that a process term reaches: the whole episode's, or those of the message which earned it",
        choices=("released", "per_action"),
    )
    process_from: float = key("share of the updates after which the process arm adds its reward", 0.0, 1.0)
    held_out: int = key("training dialogues kept aside to choose the checkpoint", 0)
    save_every: int = key("updates between checkpoints and held-out scores", 1)


@dataclass(frozen=True)
class Evaluation:
    questions: int = key("development questions of each corpus, whole dialogues; 0 takes all", 0)


@dataclass(frozen=True, repr=False)
class Profile:
    """All settings of a run, read by `Profile.load`."""

    name: str = key("name of the profile")
    seed: int = key("seed from which all others are derived", 0, 2**31 - 1)
    threads: int = key("threads for torch; 0 lets the library look at the machine", 0, 1024)
    data: Data = key("corpora and databases")
    model: Model = key("base model")
    rollout: Rollout = key("how an episode runs")
    sampling: Sampling = key("self-taught sampling, Algorithm 1")
    sft: SFT = key("supervised fine-tuning")
    curriculum: Curriculum = key("difficulty of the training questions")
    rl: RL = key("reinforcement learning")
    evaluation: Evaluation = key("development sets")

    @classmethod
    def load(cls, name: str, /, **overrides: Any) -> Profile:
        """The named profile, with keys replaced.

        An override is a section with some of its keys, `rl={"group_size": 4}`, a dotted key,
        `**{"rl.group_size": 4}`, or a top-level key, `seed=2`; lists stand for tuples. Raises KitError for an
        unknown profile, key, type or range.
        """
        path = FOLDER / f"{name}.toml"
        if not path.is_file():
            raise KitError(f"no profile is called {name!r}: choose one of {', '.join(profile_names())}")
        with path.open("rb") as file:
            values = _flat(tomllib.load(file))
        known = {dotted for dotted, _, _ in _keys()} - {"name"}
        for changes, where in ((values, f"profile {name}"), (_flat(overrides), "the overrides")):
            for dotted in changes:
                if dotted not in known:
                    raise KitError(_unknown(dotted, known, where))
        if missing := sorted(known - values.keys()):
            raise KitError(f"{path.name} lacks {missing[0]}: a profile names every key")
        profile = _build({**values, **_flat(overrides), "name": name})
        _check_whole(profile)
        return profile

    def as_dict(self) -> dict[str, Any]:
        """Nested plain values, ready for JSON."""
        return dataclasses.asdict(self)

    def settings(self) -> Iterator[tuple[str, Any, str]]:
        """Each key with its value and meaning, in order: `("rl.clip", 0.2, "clipping range ...")`."""
        for dotted, _, meta in _keys():
            yield dotted, _lookup(self, dotted), meta["help"]

    def __repr__(self) -> str:
        rows = [(dotted, _shown(value)) for dotted, value, _ in self.settings()]
        width = max(len(dotted) for dotted, _ in rows)
        return "\n".join(f"{dotted:<{width}}  {value}" for dotted, value in rows)

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr title="{escape(help)}"><td style="text-align:left"><code>{dotted}</code></td>'
            f'<td style="text-align:left">{escape(_shown(value))}</td></tr>'
            for dotted, value, help in self.settings()
        )
        return f"<table><tr><th>setting</th><th>value</th></tr>{rows}</table>"


def profile_names() -> list[str]:
    """Names of the profiles that ship with the kit."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def _keys(owner: type = Profile, prefix: str = "") -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """Dotted name, type and metadata of every key."""
    hints = get_type_hints(owner)
    for field in dataclasses.fields(owner):
        if dataclasses.is_dataclass(hints[field.name]):
            yield from _keys(hints[field.name], f"{field.name}.")
        else:
            yield prefix + field.name, hints[field.name], field.metadata


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        dotted = prefix + name
        flat.update(_flat(value, f"{dotted}.") if isinstance(value, Mapping) else {dotted: value})
    return flat


def _build(values: Mapping[str, Any], owner: type = Profile, prefix: str = "") -> Any:
    hints = get_type_hints(owner)
    parts = {}
    for field in dataclasses.fields(owner):
        kind, dotted = hints[field.name], prefix + field.name
        if dataclasses.is_dataclass(kind):
            parts[field.name] = _build(values, kind, f"{dotted}.")
        else:
            parts[field.name] = _checked(dotted, values[dotted], kind, field.metadata)
    return owner(**parts)


def _checked(dotted: str, value: Any, kind: Any, meta: Mapping[str, Any]) -> Any:
    """The value in its declared type; an int may stand for a float and a list for a tuple, nothing else."""
    if get_origin(kind) is tuple:
        entry = get_args(kind)[0]
        if not isinstance(value, list | tuple) or not value:
            raise KitError(f"{dotted} must be a list of {entry.__name__}, not {value!r}")
        return tuple(_checked(dotted, item, entry, meta) for item in value)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise KitError(f"{dotted} must be {kind.__name__}, not {type(value).__name__} ({value!r})")
    low, high, choices = meta["low"], meta["high"], meta["choices"]
    if choices and value not in choices:
        raise KitError(f"{dotted} must be one of {', '.join(choices)}, not {value!r}")
    # The negated form also refuses NaN, which is neither below nor above anything.
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        bounds = f"at least {low}" if high is None else f"between {low} and {high}"
        raise KitError(f"{dotted} must be {bounds}, not {value!r}")
    return value


def _check_whole(profile: Profile) -> None:
    """What no key can say alone."""
    given, bins = len(profile.rl.steps_per_bin), profile.curriculum.bins
    if given != bins:
        raise KitError(f"rl.steps_per_bin has {given} numbers, curriculum.bins is {bins}: give each bin one")
    if profile.rollout.max_tokens > profile.rollout.max_episode_tokens:
        raise KitError("rollout.max_tokens exceeds rollout.max_episode_tokens: a message is part of it")


def _unknown(dotted: str, known: set[str], where: str) -> str:
    sections = {name.split(".")[0] for name in known if "." in name}
    if dotted in sections:
        return f"{dotted} in {where} is a section: give it keys, such as {dotted}.{_first_key(dotted, known)}"
    tails = {name.split(".")[-1]: name for name in sorted(known)}
    near = get_close_matches(dotted, known, 1, 0.7)
    near = near or [tails[tail] for tail in get_close_matches(dotted.split(".")[-1], tails, 1, 0.7)]
    return f"unknown key {dotted} in {where}" + (f": did you mean {near[0]}?" if near else "")


def _first_key(section: str, known: set[str]) -> str:
    return min(name for name in known if name.startswith(f"{section}.")).split(".", 1)[1]


def _lookup(profile: Profile, dotted: str) -> Any:
    value: Any = profile
    for part in dotted.split("."):
        value = getattr(value, part)
    return value


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def where_data(profile: Profile) -> str:
    """What to do where the corpora or databases of a profile are missing."""
    if profile.model.dtype == "float32":
        return "make data builds the bundled corpora"
    return f"put SParC, CoSQL and Spider's databases below {profile.data.corpora}"


def where_model(folder: str | Path) -> str:
    """What to do where a model folder is missing."""
    name = Path(folder).name
    return f"download Qwen/{name} into it" if name.startswith("Qwen") else "make base trains the tiny one"
