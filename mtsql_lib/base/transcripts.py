"""The scripted agent: transcripts of an imperfect agent on the generated world, on which the base model is
pre-trained.

The script knows the gold query, so it can act out what an agent would do: propose, meet an error or an
empty result, look at the stored values, correct, check the memory, answer. Two things are kept apart on
purpose. The *skill* is taught well: a repair that is begun is carried out rightly. The *habit* is taught
badly: in the last phase the script gives up after part of the failures, and in part of the episodes it never
answers (`Habits`). So the base knows how to repair and does not always, which is what self-taught SFT and RL
are there to change. The model card says so.

A wrong proposal is context, not a lesson: its message carries weight 0. It is a gold query with mistakes
(`mistakes.py`), or what the model itself said up to one of its own failures, word for word: in that state it
will be when it has to repair. The answer that repeats a wrong proposal is learned, as an agent answers what
it proposed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from mtsql_lib.base.mistakes import corrupted, misnamed, mistyped
from mtsql_lib.dialogues import Question, Turn
from mtsql_lib.environment import Environment
from mtsql_lib.executor import Executor
from mtsql_lib.memory import DialogueMemory
from mtsql_lib.plans import plan, words
from mtsql_lib.protocol import compose
from mtsql_lib.schema import Schema, fold_names
from mtsql_lib.world.moves import DraftTurn
from mtsql_lib.world.query import Condition, Literal, Query, to_sql


@dataclass(frozen=True)
class Habits:
    """How often the scripted agent does what; every number is a probability and is printed on the model
    card.
    """

    memory: float = 0.6  # checks the memory on a later turn
    look_first: float = 0.1  # looks at stored values before the first proposal
    wrong_literal: float = 0.7  # first proposal uses the typed form of a value that is stored otherwise
    corrupt: float = 0.2  # first proposal has a mistake of the kinds that the paper names
    misname: float = 0.3  # first proposal has a name or a value that is not there
    again: float = 0.3  # so has the proposal after a failure
    repair: float = (
        0.9  # after a failure: repairs; otherwise it repeats itself, answers all the same or stops
    )
    silent: tuple[float, ...] = (0.0,) * 7  # never answers, by number of messages so far
    plan: bool = True  # says which tables and columns a query takes before it proposes it (`plans.py`)


_LESSON = 4.0  # weight of a thought after a failure: there a repair departs from what failed

SKILLED = Habits()
WEAK = Habits(silent=(0.0, 0.5, 0.05, 0.05, 0.05, 0.05, 0.05))


@dataclass(frozen=True)
class Scene:
    """One turn of a generated dialogue, ready to be acted out."""

    question: Question
    query: Query
    schema: Schema
    executor: Executor


@dataclass(frozen=True)
class Line:
    """One piece of a transcript: text and the weight of its loss (0 for environment text and wrong proposals,
    0.5 for giving up, 4 for a thought after a failure).
    """

    text: str
    weight: float


def scenes(drafts: list[DraftTurn], schema: Schema, executor: Executor) -> list[Scene]:
    """The turns of a dialogue as scenes, each with its gold history."""
    turns = [Turn(d.utterance, fold_names(to_sql(d.query)), d.relation, d.causes) for d in drafts]
    name = schema.database_id
    return [
        Scene(
            Question(f"{name}/{n}", name, n, name, tuple(turns[:n]), t.utterance, t.sql),
            drafts[n].query,
            schema,
            executor,
        )
        for n, t in enumerate(turns)
    ]


def direct_transcript(scene: Scene, habits: Habits) -> list[Line]:
    """The answer in one message."""
    gold = scene.question.gold
    return [Line(compose(think=_plan(gold, habits), answer=gold) + "<|im_end|>", 1.0)]


def plan_transcript(scene: Scene) -> list[Line]:
    """The plan of a direct answer alone: what to choose is harder to learn than how to write it."""
    return [Line(f"<think>{plan(scene.question.gold)}</think>\n", 1.0)]


def agent_transcript(
    scene: Scene, rng: random.Random, habits: Habits, own: tuple[str, ...] = (), message_limit: int = 6
) -> list[Line]:
    """One acted episode; `own` are the messages with which the model itself began one on this turn, the last
    of them a proposal that failed.
    """
    memory = DialogueMemory(scene.question, scene.executor)
    environment = Environment(
        scene.question, scene.schema, scene.executor, memory, message_limit=message_limit
    )
    lines: list[Line] = []
    for text, weight in _act(scene, rng, habits, own, environment):
        lesson = any(not result.outcome or result.outcome.kind != "rows" for result in environment.log)
        observation = environment.step(text)
        lines += [*_weighted(text + "<|im_end|>", weight, lesson), Line(observation.text, 0.0)]
        if observation.done:
            break
    return [line for line in lines if line.text]


def _weighted(text: str, weight: float, lesson: bool) -> list[Line]:
    thought, end, rest = text.partition("</think>\n")
    if lesson and end:
        return [Line(thought + end, weight * _LESSON), Line(rest, weight)]
    return [Line(text, weight)]


def _act(
    scene: Scene, rng: random.Random, habits: Habits, own: tuple[str, ...], environment: Environment
) -> Iterator[tuple[str, float]]:
    gold, later = scene.question.gold, bool(scene.question.history)
    looked = False
    surprising = _with_value(scene.query)
    if surprising and not own and rng.random() < habits.look_first:
        yield (
            compose(
                think=f"look at {words(surprising[0].column.name)}",
                call=("exec_sql", _probe(surprising[0], rng)),
            ),
            1.0,
        )
        looked = True
    if own:
        yield from ((text, 0.0) for text in own)
        sql = environment.log[-1].sql
    else:
        sql = gold if looked else _first_proposal(scene, rng, habits)
        yield compose(think=_plan(sql, habits), call=("exec_sql", sql)), 1.0 if sql == gold else 0.0
    if not (outcome := environment.log[-1].outcome).ok or (outcome.kind == "empty" and sql != gold):
        if rng.random() >= habits.repair:
            yield from _give_up(sql, rng)
            return
        if len(own) < 2 and rng.random() < habits.again and (wrong := _misnamed(scene, rng)):
            sql = wrong
            yield compose(think=_plan(sql, habits), verdict=("exec", "no_pass"), call=("exec_sql", sql)), 0.0
        yield from _repair(scene, sql, environment, rng)
        sql = gold
    if rng.random() < habits.silent[min(environment.messages, 6)]:
        yield "<exec_verify>pass</exec_verify>\n", 1.0
        return
    if not later or rng.random() >= habits.memory or environment.messages > 3:
        yield compose(verdict=("exec", "pass"), answer=sql), 1.0
        return
    yield compose(verdict=("exec", "pass"), call=("memory_retrieve", sql)), 1.0
    if sql != gold:
        yield (
            compose(think=plan(gold), verdict=("memory", "no_pass"), call=("exec_sql", gold)),
            1.0,
        )
        yield compose(verdict=("exec", "pass"), answer=gold), 1.0
    elif rng.random() < habits.silent[min(environment.messages, 6)]:
        yield "<memory_verify>pass</memory_verify>\n", 1.0
    else:
        yield compose(verdict=("memory", "pass"), answer=gold), 1.0


def _give_up(sql: str, rng: random.Random) -> Iterator[tuple[str, float]]:
    way = rng.random()
    if way < 0.4:
        yield "<exec_verify>no_pass</exec_verify>\n", 1.0
    elif way < 0.9:
        yield compose(verdict=("exec", "pass"), answer=sql), 0.5
    else:
        for _ in range(2):
            yield compose(verdict=("exec", "no_pass"), call=("exec_sql", sql)), 0.5
        yield compose(verdict=("exec", "pass"), answer=sql), 0.5


def _repair(
    scene: Scene, sql: str, environment: Environment, rng: random.Random
) -> Iterator[tuple[str, float]]:
    """Look where looking helps, then propose the gold query; the thought names the stored value, or what the
    gold query is made of.
    """
    gold = scene.question.gold
    suspects = [c for c in _literal_conditions(scene.query) if _spelled(c.value) not in sql]
    if environment.log[-1].outcome.kind == "empty" and suspects:
        suspect = suspects[0]
        if _looked_at(suspect, environment):
            yield compose(think=_stored(suspect), verdict=("exec", "no_pass"), call=("exec_sql", gold)), 1.0
            return
        if _carried(scene, suspect) and rng.random() < 0.6:
            yield (
                compose(
                    think="see how it was asked before",
                    verdict=("exec", "no_pass"),
                    call=("memory_retrieve", sql),
                ),
                1.0,
            )
            yield compose(think=_stored(suspect), call=("exec_sql", gold)), 1.0
            return
        look = f"look at {words(suspect.column.name)}"
        yield compose(think=look, verdict=("exec", "no_pass"), call=("exec_sql", _probe(suspect, rng))), 1.0
        yield compose(think=_stored(suspect), call=("exec_sql", gold)), 1.0
        return
    yield compose(think=plan(gold), verdict=("exec", "no_pass"), call=("exec_sql", gold)), 1.0


def _plan(sql: str, habits: Habits) -> str:
    return plan(sql) if habits.plan else ""


def _first_proposal(scene: Scene, rng: random.Random, habits: Habits) -> str:
    if rng.random() < habits.misname and (wrong := _misnamed(scene, rng)):
        return wrong
    query = scene.query
    if rng.random() < habits.wrong_literal:
        query = mistyped(query, rng)
    if rng.random() < habits.corrupt:
        query = corrupted(query, rng, bool(scene.question.history))
    return fold_names(to_sql(query))


def _misnamed(scene: Scene, rng: random.Random) -> str:
    """The gold query with a name that is not there, where that makes it fail; else ""."""
    wrong = misnamed(scene.question.gold, scene.schema, rng)
    return "" if scene.executor.execute("", wrong).kind == "rows" else wrong


def _probe(condition: Condition, rng: random.Random) -> str:
    """A look at what is stored: all values, or those that contain the first word."""
    column, word = condition.column, condition.value.spoken.split()[0].lower()
    sql = f"SELECT DISTINCT {column.name} FROM {column.table}"
    if rng.random() < 0.3 and word in str(condition.value.stored).lower():
        sql += f" WHERE {column.name} LIKE '%{word}%'"
    return fold_names(sql)


def _looked_at(condition: Condition, environment: Environment) -> bool:
    """Have the column's stored values been seen in full?"""
    look = fold_names(f"SELECT DISTINCT {condition.column.name} FROM {condition.column.table}")
    return any(r.sql == look and r.outcome and r.outcome.kind == "rows" for r in environment.log)


def _stored(condition: Condition) -> str:
    return f"it is '{condition.value.stored}'"


def _spelled(literal: Literal) -> str:
    return f"'{literal.stored}'"


def _carried(scene: Scene, condition: Condition) -> bool:
    return any(_spelled(condition.value) in turn.sql for turn in scene.question.history)


def _literal_conditions(query: Query) -> list[Condition]:
    found = [
        c
        for c in query.where
        if isinstance(c.value, Literal) and isinstance(c.value.stored, str) and c.op != "like"
    ]
    return found + (_literal_conditions(query.compound[1]) if query.compound else [])


def _with_value(query: Query) -> list[Condition]:
    # to look first is a habit of questions with a value, whether or not it turns out to be stored otherwise
    return [c for c in _literal_conditions(query) if c.op == "="]
