"""Batched multi-turn rollouts: an engine and environments in, episodes out.

The idea: a row whose message ended hands its environment to a thread and waits, all other rows go on; when
the observation is there the row goes on too. Token in, token out: sampled ids are decoded for the environment
and never encoded again; an observation is encoded once, by itself.

The same call gives the same episodes. A tool result is taken up at a fixed step after its call, so the batch
does not depend on how fast a thread was; only with `patience`, in seconds, a result that is later is left to
come when it comes. Which ids a row samples depends on its own seed alone, also across calls; the last bits of
its log-probabilities may depend on the batch (`kv_cache.py`). Left out: retries, and tools that outlive their
episode.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256

from mtsql_lib.engines import Engine, Message, Session
from mtsql_lib.environment import Environment, Episode, Step
from mtsql_lib.errors import KitError
from mtsql_lib.tokens import Codec

_DELAY = 1  # steps from a message's end to the use of its observation: the time that threads have for free


def row_seed(seed: int, question_id: str, sample: int) -> int:
    """The random stream of one episode, whatever the order or the batch in which it is played."""
    return int.from_bytes(sha256(f"{seed}/{question_id}/{sample}".encode()).digest()[:8], "big")


def rollout(
    engine: Engine,
    codec: Codec,
    environments: Sequence[Environment],
    *,
    temperature: float,
    seeds: Sequence[int],
    max_message_tokens: int,
    max_episode_tokens: int,
    samples: Sequence[int] | None = None,
    workers: int = 4,
    patience: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Episode]:
    """Play every (fresh) environment to its end; episodes in the order of the environments.

    `max_message_tokens` bounds one sampled message, `max_episode_tokens` all ids after the prompt. A message
    or an observation that does not fit ends the episode with stop `length`; the observation is then not part
    of it. `samples` numbers the episodes (default: 0, 1, ... per question). `progress` is called with
    (finished, all). Put environments with the same prompt side by side: their prompt is computed once.
    """
    samples = _numbered(environments) if samples is None else samples
    if not len(environments) == len(seeds) == len(samples):
        counts = f"{len(environments)} environments, {len(seeds)} seeds and {len(samples)} sample numbers"
        raise KitError(f"{counts}: give one of each")
    if not environments:
        return []
    budget = _Budget(max_message_tokens, max_episode_tokens)
    plays = [_Play(e, codec, budget, tuple(codec.encode(e.prompt))) for e in environments]
    length = max(len(play.prompt_ids) for play in plays) + max_episode_tokens
    with engine.session(seeds, temperature, length) as session, ThreadPoolExecutor(workers) as pool:
        for row, play in enumerate(plays):
            session.submit(row, play.prompt_ids, play.limit)
        _drive(session, plays, _Calls(pool, patience), progress or (lambda done, of: None))
    return [
        play.environment.episode(n, play.prompt_ids, tuple(play.steps))
        for play, n in zip(plays, samples, strict=True)
    ]


def _numbered(environments: Sequence[Environment]) -> list[int]:
    count: Counter[str] = Counter()
    numbers = []
    for environment in environments:
        numbers.append(count[environment.question.id])
        count[environment.question.id] += 1
    return numbers


@dataclass(frozen=True)
class _Budget:
    message: int
    episode: int


@dataclass
class _Play:
    """One episode under way; `used` counts the ids after the prompt."""

    environment: Environment
    codec: Codec
    budget: _Budget
    prompt_ids: tuple[int, ...]
    steps: list[Step] = field(default_factory=list)
    used: int = 0

    @property
    def limit(self) -> int:
        """How many tokens the next message may have."""
        return min(self.budget.message, self.budget.episode - self.used)

    def take(self, message: Message) -> tuple[int, ...]:
        """Hand a sampled message to the environment; returns the observation's ids, empty when the episode is
        over."""
        ended = message.ids[-1] == self.codec.end_of_turn
        text = self.codec.decode(list(message.ids[:-1] if ended else message.ids))
        self.used += len(message.ids)
        observation, ids = "", ()
        if ended:
            observation = self.environment.step(text).text
            ids = tuple(self.codec.encode(observation)) if observation else ()
        if not ended or (ids and self.used + len(ids) >= self.budget.episode):
            self.environment.cut()
            observation, ids = "", ()
        self.used += len(ids)
        self.steps.append(Step(text, message.ids, message.logprobs, observation, ids))
        return ids


class _Calls:
    """Environments at work in threads, taken up in the order in which their messages ended."""

    def __init__(self, pool: ThreadPoolExecutor, patience: float | None):
        self._pool, self._patience, self._clock = pool, patience, 0
        self._waiting: list[_Call] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def start(self, row: int, work: Callable[[], tuple[int, ...]]) -> None:
        self._waiting.append(_Call(row, self._clock + _DELAY, self._pool.submit(work)))

    def due(self, idle: bool) -> list[tuple[int, tuple[int, ...]]]:
        """Rows to go on with and the ids they got; called once a step. `idle`: there is nothing else to do
        than to wait."""
        due = [call for call in self._waiting if idle or call.step <= self._clock]
        self._clock += 1
        wait([call.future for call in due if not call.late], timeout=self._patience)
        if idle and due and not any(call.future.done() for call in due):
            wait([call.future for call in due], return_when=FIRST_COMPLETED)
        ready = [call for call in due if call.future.done()]
        for call in due:
            call.late = True
        self._waiting = [call for call in self._waiting if call not in ready]
        return [(call.row, call.future.result()) for call in ready]


@dataclass(eq=False)
class _Call:
    row: int
    step: int
    future: Future
    late: bool = False


def _drive(session: Session, plays: list[_Play], calls: _Calls, progress: Callable[[int, int], None]) -> None:
    finished = 0
    while session.running or calls:
        for message in session.advance():
            calls.start(message.row, partial(plays[message.row].take, message))
        for row, ids in calls.due(idle=not session.running):
            if ids:
                session.submit(row, ids, plays[row].limit)
            else:
                session.release(row)
                finished += 1
                progress(finished, len(plays))


class Progress:
    """A `progress` callback that prints a line now and then: episodes finished, speed, time left."""

    def __init__(self, label: str, *, every: float = 10.0, out: Callable[[str], None] = print):
        self._label, self._every, self._out = label, every, out
        self._start = self._last = time.monotonic()

    def __call__(self, done: int, of: int) -> None:
        now = time.monotonic()
        if done < of and now - self._last < self._every:
            return
        self._last, speed = now, done / max(now - self._start, 1e-9)
        left = f", {(of - done) / speed:.0f} s left" if done < of else ""
        self._out(f"{self._label}: {done}/{of} episodes, {speed:.1f}/s{left}")


def check_tokens(
    episode: Episode, codec: Codec, ids: Sequence[int] | None = None, mask: Sequence[int] | None = None
) -> None:
    """Raise KitError unless the episode is token-exact.

    Holds: `ids` (default: the episode's own, or a row of the batch that reaches the loss) are prompt, sampled
    and environment ids in order; `mask` is 1 exactly on sampled ids; prompt and observations are what the
    codec makes of their text, and a message's text what it makes of its ids; every message ends with the one
    end-of-turn token in it, unless the token budget cut it; every sampled id has its log-probability, or the
    message has none; only the last step has no observation.
    """
    where = f"episode {episode.question_id} #{episode.sample}"
    last = len(episode.steps) - 1
    _hold(last >= 0, f"{where} has no message")
    _hold(
        list(episode.prompt_ids) == codec.encode(episode.prompt),
        f"{where}: the prompt's ids are not the encoded prompt",
    )
    for number, step in enumerate(episode.steps):
        _check_step(
            step,
            f"{where}, message {number}",
            codec,
            last=number == last,
            cut=episode.stop == "length" and number == last,
        )
    sampled = [
        (i, alive)
        for step in episode.steps
        for part, alive in ((step.ids, 1), (step.observation_ids, 0))
        for i in part
    ]
    expected = [(i, 0) for i in episode.prompt_ids] + sampled
    ids, mask = episode.ids() if ids is None else list(ids), episode.mask() if mask is None else list(mask)
    _hold(
        [i for i, _ in expected] == ids,
        f"{where}: the ids are not prompt, sampled and environment ids in order",
    )
    _hold([alive for _, alive in expected] == mask, f"{where}: the mask is not alive exactly on sampled ids")


def _check_step(step: Step, where: str, codec: Codec, *, last: bool, cut: bool) -> None:
    ended = bool(step.ids) and step.ids[-1] == codec.end_of_turn
    _hold(ended or (cut and bool(step.ids)), f"{where} does not end with the end-of-turn token")
    body = list(step.ids[:-1] if ended else step.ids)
    _hold(codec.end_of_turn not in body, f"{where} has an end-of-turn token inside")
    _hold(codec.decode(body) == step.text, f"{where}: the text is not the decoded ids")
    _hold(
        len(step.logprobs) in (0, len(step.ids)),  # none: written by hand
        f"{where} has {len(step.logprobs)} log-probabilities for {len(step.ids)} ids",
    )
    encoded = codec.encode(step.observation) if step.observation else []
    _hold(
        list(step.observation_ids) == encoded,
        f"{where}: the observation's ids are not the encoded observation",
    )
    _hold(last or bool(encoded), f"{where} is followed by another and has no observation")
    _hold(not (last and encoded), f"{where} is the last and has an observation")


def _hold(condition: bool, otherwise: str) -> None:
    if not condition:
        raise KitError(f"{otherwise}: do not train on it; sample it again")
