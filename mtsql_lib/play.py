"""Playing: questions in, scored episodes out, in batches that the run's store keeps, so that an interrupted
stage goes on where it stopped.

This is the one room where corpus, environment, engine, judge and store meet; sampling, reinforcement
learning and evaluation all play through it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from mtsql_lib.config import Profile
from mtsql_lib.dialogues import Question, find_split, questions, read_dialogues
from mtsql_lib.environment import Environment, Episode, Step
from mtsql_lib.executor import Executor
from mtsql_lib.memory import DialogueMemory
from mtsql_lib.protocol import END_OF_TURN, compose
from mtsql_lib.rewards import RewardBreakdown, final_sql, reward
from mtsql_lib.schema import read_schema
from mtsql_lib.scoring import SCORING_LIMITS, Judge, Score

PATIENCE = 0.25  # seconds; on a GPU, where no bytes are promised, a slow query must not hold up the others
JUDGE_SECONDS = 10.0  # a runaway answer must not hold up a training step for the minute that scoring allows


@dataclass(frozen=True)
class Scored:
    """An episode with what the judge and the rewards say of it."""

    question: Question
    episode: Episode
    score: Score
    reward: RewardBreakdown


@dataclass(frozen=True)
class Setting:
    """How episodes are played where it differs from the profile's default."""

    mode: str = "agent"
    tools: tuple[str, ...] = ()  # (): the profile's
    message_limit: int = 0  # 0: the profile's
    history: str = "gold"  # or "predicted": the agent's own earlier answers
    samples: int = 1
    temperature: float = 0.0


@dataclass
class Table:
    """The playing table of one corpus folder: its databases, executor and judge."""

    profile: Profile
    databases: Path
    tables_json: Path | None = None
    executor: Executor = field(init=False)

    def __post_init__(self) -> None:
        self.executor = Executor(self.databases)

    @cached_property
    def judge(self) -> Judge:
        """The judge over the same databases: as generous as the official script, but for its patience."""
        limits = SCORING_LIMITS._replace(seconds=JUDGE_SECONDS)
        return Judge(self.databases, self.tables_json, executor=Executor(self.databases, limits=limits))

    def environment(
        self, question: Question, setting: Setting, sqls: Sequence[str] | None = None
    ) -> Environment:
        """A fresh environment; `sqls` are the agent's own earlier answers where the history is predicted."""
        rollout = self.profile.rollout
        return Environment(
            question,
            read_schema(self.databases, question.database_id),
            self.executor,
            DialogueMemory(question, self.executor, sqls),
            mode=setting.mode,
            tools=setting.tools or tuple(rollout.tools),
            message_limit=setting.message_limit or rollout.message_limit,
            templates=rollout.templates,
            clauses=lambda sql: (
                str(self.judge.clauses(question.database_id, sql)) if rollout.templates == "full" else ""
            ),
        )

    def scored(self, question: Question, episode: Episode, mode: str = "paper") -> Scored:
        """Judge an episode; an unanswered one is judged as the empty prediction."""
        return Scored(
            question,
            episode,
            self.judge.score(question, final_sql(episode, mode)),
            reward(episode, question, self.judge, mode),
        )


@dataclass
class Player:
    """A model at a table: codec and engine of one checkpoint."""

    table: Table
    model_path: Path
    model: object = None  # a model that is being trained; else the one in `model_path`

    @cached_property
    def codec(self):
        """The checkpoint's codec."""
        from mtsql_lib.tokens import load_codec

        return load_codec(self.model_path)

    @cached_property
    def engine(self):
        """The checkpoint's engine."""
        import torch

        from mtsql_lib.engines import TransformersEngine
        from mtsql_lib.trainer import load_model

        device = "cuda" if torch.cuda.is_available() else "cpu"
        model = self.model or load_model(self.model_path, self.table.profile.model.dtype).eval().to(device)
        return TransformersEngine(model, self.codec.end_of_turn)

    def play(
        self,
        asked: Sequence[Question],
        setting: Setting,
        seed: int,
        keep: Callable[[list[Scored]], None] = lambda batch: None,
        known: Callable[[str, int], Scored | None] = lambda question_id, sample: None,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Scored]:
        """All episodes of the questions, sample by sample, in order; `known` ones are not played again,
        fresh ones go to `keep` batch by batch.

        Predicted history is played turn by turn, so that each question's memory holds the agent's own
        earlier answers.
        """
        if setting.history == "predicted":
            return self._play_predicted(asked, setting, seed, keep, known, progress)
        return self._play_all([(q, None) for q in asked], setting, seed, keep, known, progress)

    def play_groups(self, asked: Sequence[Question], setting: Setting, seed: int) -> list[Scored]:
        """`setting.samples` episodes of each question, group by group; a question may stand there twice and
        is then played anew.
        """
        done: list[Scored] = []
        size = max(1, self.table.profile.rollout.batch_rows // setting.samples)
        for start in range(0, len(asked), size):
            places = [
                (q, None, (start + n) * setting.samples + k)
                for n, q in enumerate(asked[start : start + size])
                for k in range(setting.samples)
            ]
            done += self._play_batch(places, setting, seed)
        return done

    def _play_predicted(self, asked, setting, seed, keep, known, progress) -> list[Scored]:
        answers: dict[str, str] = {}
        done: list[Scored] = []
        for turn in sorted({q.turn for q in asked}):
            layer = [q for q in asked if q.turn == turn]
            tasks = [(q, [answers.get(f"{q.dialogue_id}/{n}", "") for n in range(turn)]) for q in layer]
            before = len(done)
            told = progress and (lambda count, _, before=before: progress(before + count, len(asked)))
            for scored in self._play_all(tasks, setting, seed, keep, known, told):
                answers[scored.question.id] = scored.episode.answer or ""
                done.append(scored)
        place = {q.id: n for n, q in enumerate(asked)}
        return sorted(done, key=lambda s: place[s.question.id])

    def _play_all(self, tasks, setting, seed, keep, known, progress) -> list[Scored]:
        places = [(question, sqls, sample) for question, sqls in tasks for sample in range(setting.samples)]
        done: list[Scored] = []
        size = self.table.profile.rollout.batch_rows
        for start in range(0, len(places), size):
            # the batch is laid out the same whether or not the run was interrupted: same floats, same bytes
            batch = places[start : start + size]
            ready = [known(question.id, sample) for question, _, sample in batch]
            if not all(ready):
                ready = self._play_batch(batch, setting, seed)
                keep(ready)
            done += ready
            if progress:
                progress(len(done), len(places))
        return done

    def _play_batch(self, batch, setting: Setting, seed: int) -> list[Scored]:
        import torch

        from mtsql_lib.rollout import rollout, row_seed

        limits = self.table.profile.rollout
        environments = [self.table.environment(question, setting, sqls) for question, sqls, _ in batch]
        episodes = rollout(
            self.engine,
            self.codec,
            environments,
            temperature=setting.temperature,
            seeds=[row_seed(seed, question.id, sample) for question, _, sample in batch],
            samples=[sample for _, _, sample in batch],
            max_message_tokens=limits.max_tokens,
            max_episode_tokens=limits.max_episode_tokens,
            patience=PATIENCE if torch.cuda.is_available() else None,
        )
        return [
            self.table.scored(question, episode)
            for (question, _, _), episode in zip(batch, episodes, strict=True)
        ]


def act(environment: Environment, messages: Sequence[str], codec=None) -> Episode:
    """An episode of given messages, as a teacher plays it by hand; with a codec it has token ids, each
    message ended by its end-of-turn token.
    """
    encode = (lambda text: tuple(codec.encode(text))) if codec else (lambda text: ())
    steps = []
    for text in messages:
        observation = environment.step(text).text
        steps.append(Step(text, encode(text + END_OF_TURN), (), observation, encode(observation)))
    return environment.episode(0, encode(environment.prompt), tuple(steps))


def replay_gold(environment: Environment) -> Episode:
    """The reference SQL through environment and tools: propose, verify, check the memory, answer. It has
    text and log, and no token ids.
    """
    gold, later = environment.question.gold, bool(environment.question.history)
    messages = [compose(call=("exec_sql", gold))]
    if later:
        messages.append(compose(verdict=("exec", "pass"), call=("memory_retrieve", gold)))
    messages.append(compose(verdict=("memory" if later else "exec", "pass"), answer=gold))
    return act(environment, messages)


def corpus_questions(folder: str | Path, split: str) -> list[Question]:
    """The questions of a split of a corpus folder; incomplete training dialogues are left out, and counted.

    Raises KitError if a development dialogue is incomplete: nothing may be left out of a test.
    """
    skipped: list[str] | None = [] if split == "train" else None
    found = questions(read_dialogues(find_split(folder, split), skipped=skipped))
    if skipped:
        print(f"{folder}: {len(skipped)} training dialogues are incomplete and left out", flush=True)
    return found


def whole_dialogues(asked: Sequence[Question], limit: int) -> list[Question]:
    """The first dialogues with at least `limit` questions together (0: all); dialogues are never cut."""
    if not limit:
        return list(asked)
    chosen: list[Question] = []
    for dialogue in _by_dialogue(asked):
        if len(chosen) >= limit:
            break
        chosen += dialogue
    return chosen


def _by_dialogue(asked: Sequence[Question]) -> Iterator[list[Question]]:
    groups: dict[str, list[Question]] = {}
    for question in asked:
        groups.setdefault(question.dialogue_id, []).append(question)
    yield from groups.values()
