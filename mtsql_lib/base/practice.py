"""What the base model practises on: fresh databases with dialogues, and its own failures on them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from threading import Lock

from mtsql_lib.base.transcripts import Scene, scenes
from mtsql_lib.environment import Environment, Episode, ToolResult
from mtsql_lib.executor import Outcome
from mtsql_lib.memory import DialogueMemory
from mtsql_lib.schema import schema_of
from mtsql_lib.tokens import SpelledCodec
from mtsql_lib.world.databases import random_spec
from mtsql_lib.world.moves import draft_dialogue
from mtsql_lib.world.spec import populate

_TRIES = 3  # messages of the model's own that a repair may follow


class ConnectionExecutor:
    """Executes on one open in-memory database that the generator has just made; no guard is needed for
    generated SQL of known shape.
    """

    def __init__(self, connection, budget: int = 200_000):
        self.connection, self._lock = connection, Lock()
        connection.text_factory = lambda data: data.decode("utf-8", "replace")
        connection.set_progress_handler(lambda: 1, budget)  # a model's cross join must end

    def execute(self, database_id: str, sql: str) -> Outcome:
        """Run SQL; `database_id` is ignored."""
        try:
            with self._lock:
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
    """A generated dialogue, by its seed, and for some turns (turn, messages) what the model itself said up to
    a proposal that failed on execution.
    """

    seed: str
    begun: tuple[tuple[int, tuple[str, ...]], ...]


def collect_own_failures(
    model, codec: SpelledCodec, seed: str, dialogues: int, strange: float, temperature: float = 0.7
) -> list[OwnFailure]:
    """Play every turn of fresh dialogues; of the episodes in which calls end in an error, or in nothing where
    gold returns rows, keep the messages up to one of these calls.
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
        Environment(
            x.question, x.schema, x.executor, DialogueMemory(x.question, x.executor), message_limit=_TRIES + 1
        )
        for _, _, x in turns
    ]
    model.eval()
    engine = TransformersEngine(model, codec.end_of_turn)
    streams = [row_seed(0, f"{name} {number}", 0) for name, number, _ in turns]
    budget = {"max_message_tokens": 96, "max_episode_tokens": 448}
    episodes = rollout(engine, codec, environments, temperature=temperature, seeds=streams, **budget)
    model.train()
    found: dict[str, list[tuple[int, tuple[str, ...]]]] = {}
    for (name, number, scene), episode in zip(turns, episodes, strict=True):
        if failed := _failed_messages(scene, episode):
            last = random.Random(f"{name} {number}").choice(failed)
            messages = tuple(step.text for step in episode.steps[: last + 1])
            found.setdefault(name, []).append((number, messages))
    return [OwnFailure(name, tuple(begun)) for name, begun in found.items()]


def _failed_messages(scene: Scene, episode: Episode) -> list[int]:
    """The messages whose last call failed and was answered."""
    last = {result.message: result for result in episode.log}
    return [n for n, result in last.items() if episode.steps[n].observation and _fails(scene, result)]


def _fails(scene: Scene, result: ToolResult) -> bool:
    if result.tool != "exec_sql" or not result.outcome:
        return False
    rows = scene.executor.execute("", scene.question.gold).kind == "rows"
    return not result.outcome.ok or (result.outcome.kind == "empty" and rows)
