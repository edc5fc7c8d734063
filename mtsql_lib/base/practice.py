"""What the base model practises on: fresh databases with dialogues, and its own failures on them."""

from __future__ import annotations

import random
from dataclasses import dataclass

from mtsql_lib.base.transcripts import Scene, scenes
from mtsql_lib.environment import Environment
from mtsql_lib.executor import Outcome
from mtsql_lib.memory import DialogueMemory
from mtsql_lib.protocol import parse_message
from mtsql_lib.schema import schema_of
from mtsql_lib.tokens import SpelledCodec
from mtsql_lib.world.databases import random_spec
from mtsql_lib.world.moves import draft_dialogue
from mtsql_lib.world.spec import populate


class ConnectionExecutor:
    """Executes on one open in-memory database that the generator has just made; no guard is needed for
    generated SQL of known shape.
    """

    def __init__(self, connection, budget: int = 200_000):
        self.connection = connection
        connection.text_factory = lambda data: data.decode("utf-8", "replace")
        connection.set_progress_handler(lambda: 1, budget)  # a model's cross join must end

    def execute(self, database_id: str, sql: str) -> Outcome:
        """Run SQL; `database_id` is ignored."""
        try:
            cursor = self.connection.execute(sql)
            rows = tuple(cursor.fetchmany(200))
            return Outcome(
                "rows" if rows else "empty",
                tuple(d[0] for d in cursor.description or ()),
                rows,
                "",
                0.0,
                False,
            )
        except Exception as fault:
            return Outcome("error", (), (), str(fault), 0.0, False)


def world_scenes(rng: random.Random, most_columns: int = 99, strange: float = 1.0) -> list[Scene]:
    """A fresh database of at most so many columns with a fresh dialogue on it."""
    return world_dialogues(rng, 1, most_columns, strange)[0]


def world_dialogues(
    rng: random.Random, count: int, most_columns: int = 99, strange: float = 1.0
) -> list[list[Scene]]:
    """A fresh database of at most so many columns with up to `count` fresh dialogues on it, at least one;
    `strange` is that of `random_spec`.
    """
    while True:
        spec = random_spec(rng, strange)
        if sum(len(table.columns) for table in spec.tables) > most_columns:
            continue
        connection = populate(spec, rng)
        styles = [rng.choice(("steps", "talk")) for _ in range(count)]
        drafted = [draft_dialogue(spec, connection, rng, style, "train") for style in styles]
        schema, executor = schema_of(connection, spec.id), ConnectionExecutor(connection)
        found = [scenes(drafts, schema, executor) for drafts in drafted if drafts]
        if found:
            return found
        connection.close()


@dataclass(frozen=True)
class OwnFailure:
    """A generated dialogue, by its seed, and for some turns (turn, SQL) the model's own proposal that
    failed on execution.
    """

    seed: str
    proposals: tuple[tuple[int, str], ...]


def collect_own_failures(
    model, codec: SpelledCodec, seed: str, dialogues: int, strange: float, temperature: float = 0.7
) -> list[OwnFailure]:
    """Sample the first proposal of every turn of fresh dialogues; keep those that end in an error, or in
    nothing where gold returns rows.
    """
    from mtsql_lib.engines import TransformersEngine
    from mtsql_lib.rollout import rollout, row_seed

    seeds = [f"{seed} {n}" for n in range(dialogues)]
    turns = [
        (s, n, scene)
        for s in seeds
        for n, scene in enumerate(world_scenes(random.Random(s), strange=strange))
    ]
    environments = [
        Environment(x.question, x.schema, x.executor, DialogueMemory(x.question, x.executor), message_limit=1)
        for _, _, x in turns
    ]
    model.eval()
    engine = TransformersEngine(model, codec.end_of_turn)
    streams = [row_seed(0, f"{name} {number}", 0) for name, number, _ in turns]
    budget = {"max_message_tokens": 128, "max_episode_tokens": 128}
    episodes = rollout(engine, codec, environments, temperature=temperature, seeds=streams, **budget)
    model.train()
    found: dict[str, list[tuple[int, str]]] = {}
    for (name, number, scene), episode in zip(turns, episodes, strict=True):
        calls = parse_message(episode.steps[0].text).calls
        if calls and calls[0].code and _fails(scene, calls[0].code):
            found.setdefault(name, []).append((number, calls[0].code))
    return [OwnFailure(name, tuple(proposals)) for name, proposals in found.items()]


def _fails(scene: Scene, sql: str) -> bool:
    outcome = scene.executor.execute("", sql)
    return not outcome.ok or (
        outcome.kind == "empty" and scene.executor.execute("", scene.question.gold).kind == "rows"
    )
