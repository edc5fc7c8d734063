"""Generation back-ends behind one small interface: token ids in, token ids out, one message at a time.

A `Session` holds many rows. `submit` gives a row the ids that came from outside (its prompt, later each
observation) and lets it sample one message; `advance` does one step for all rows and returns the messages
that ended in it; `release` drops a row. What a row has seen stays in the key-value cache between its
messages, rows that wait for a tool stand aside, and rows of finished episodes make room for queued ones.

Ids from outside are computed in one chunk, not one a step. Left out: top-k, top-p and penalties (the papers
sample from the full distribution), beam search, and stop strings.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from transformers import AttentionInterface

from mtsql_lib.errors import KitError
from mtsql_lib.kv_cache import Chunk, KeyValueCache, attend

_ATTENTION = "mtsql_cached"
_OPENING = 32  # ids that prompts must have in common before one is begun as a copy of the other
_LARGEST_PASS = 2**24  # rows x width x reach of one forward pass: bounds the memory of the attention mask
AttentionInterface.register(_ATTENTION, attend)


@dataclass(frozen=True)
class Message:
    """A sampled message of a row; the ids include the end-of-turn token unless the limit came first.

    `logprobs[i]` is the log-probability of `ids[i]` under the model's own distribution: at temperature 1,
    whatever the sampling temperature was.
    """

    row: int
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]


class Session(Protocol):
    """Rows under generation; `running` is true while `advance` has something to do."""

    running: bool

    def submit(self, row: int, ids: Sequence[int], limit: int) -> None:
        """Append ids from outside to the row, then sample until end-of-turn or `limit` tokens."""

    def advance(self) -> list[Message]:
        """One step for all rows; the messages that ended in it."""

    def release(self, row: int) -> None:
        """The row's episode is over."""


class Engine(Protocol):
    """A model that can sample."""

    end_of_turn: int

    def session(
        self, seeds: Sequence[int], temperature: float, length: int
    ) -> AbstractContextManager[Session]:
        """Rows 0 to len(seeds) - 1; each draws from its own stream and sees at most `length` tokens."""


def uniforms(seeds: Sequence[int], counts: Sequence[int]) -> np.ndarray:
    """The `counts[i]`-th number in [0, 1) of the random stream `seeds[i]`: splitmix64 of both, without state.

    So what a row draws depends on nothing but its seed and how many tokens it has sampled.
    """
    with np.errstate(over="ignore"):
        stream = _mix(np.array([seed % 2**64 for seed in seeds], dtype=np.uint64))
        return (_mix(stream + np.array(counts, dtype=np.uint64)) >> np.uint64(32)).astype(
            np.float64
        ) / 2.0**32


def _mix(x: np.ndarray) -> np.ndarray:
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def draw(logits: torch.Tensor, temperature: float, uniform: np.ndarray) -> tuple[list[int], list[float]]:
    """One id a row by inverting the distribution function; its log-probability at temperature 1.

    Logits (rows, vocabulary), `uniform` (rows,). Temperature 0 takes the likeliest id and no random number.
    """
    logprobs = logits.float().log_softmax(-1)
    if temperature == 0:
        ids = logprobs.argmax(-1, keepdim=True)
    else:
        weights = logprobs.exp() if temperature == 1 else (logprobs / temperature).softmax(-1)
        # in double precision a small weight is not lost against the sum of 150,000 others
        reached = weights.cumsum(-1, dtype=torch.float64)
        target = torch.from_numpy(uniform).to(logits.device)[:, None] * reached[:, -1:]
        ids = torch.searchsorted(reached, target, right=True).clamp_(max=logits.shape[1] - 1)
    return ids[:, 0].tolist(), logprobs.gather(1, ids)[:, 0].tolist()


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many ids two sequences have in common before they part."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(first), len(second)))


class TransformersEngine:
    """Samples from a transformers model in its dtype, on its device, with its weights as they are then.

    `slots` rows are computed at once, the others queue. The cache takes `slots` x `length` tokens and is kept
    from one session to the next; only one session may be open.
    """

    def __init__(self, model: torch.nn.Module, end_of_turn: int, *, slots: int = 128):
        self.model = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.end_of_turn, self.slots = end_of_turn, slots
        self._cache: KeyValueCache | None = None

    @contextmanager
    def session(self, seeds: Sequence[int], temperature: float, length: int):
        """See `Engine.session`; inside, the model is in evaluation mode and attends through the cache."""
        attention, training = self.model.config._attn_implementation, self.model.training
        self.model.set_attn_implementation(_ATTENTION)
        self.model.eval()
        try:
            cache = self._room(min(self.slots, len(seeds)), length)
            yield _CachedSession(self, cache, seeds, temperature, length)
        finally:
            self.model.train(training)
            self.model.set_attn_implementation(attention)

    def _room(self, slots: int, length: int) -> KeyValueCache:
        kept = self._cache
        if not kept or kept.slots < slots or kept.length <= length or kept.store.dtype != self.model.dtype:
            self._cache = None
            self._cache = KeyValueCache(self.model, slots, length)
        return self._cache


@dataclass(eq=False)
class _Row:
    """`pending` ids are known, not computed; `seen` tokens are in the cache; `drawn` numbers are used up."""

    index: int
    seed: int
    prefix: tuple[int, ...]
    pending: list[int]
    slot: int = -1
    seen: int = 0
    drawn: int = 0
    limit: int = 0
    sampling: bool = True
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)


class _CachedSession:
    def __init__(
        self, engine: TransformersEngine, cache: KeyValueCache, seeds, temperature: float, length: int
    ):
        self._body, self._head = engine.model.get_decoder(), engine.model.get_output_embeddings()
        self._cache, self._end, self._length = cache, engine.end_of_turn, length
        self._seeds, self._temperature = seeds, temperature
        self._rows: dict[int, _Row] = {}
        self._queue: list[_Row] = []
        self._slots: list[_Row | None] = [None] * min(engine.slots, len(seeds))

    @property
    def running(self) -> bool:
        return any(row.sampling for row in self._rows.values())

    def submit(self, row: int, ids: Sequence[int], limit: int) -> None:
        known = self._rows.get(row)
        length = len(ids) + limit + (known.seen + len(known.pending) if known else 0)
        if length > self._length or limit < 1:
            raise KitError(
                f"row {row} may take {length} tokens where {self._length} fit: raise the token budget"
            )
        if known is None:
            known = self._rows[row] = _Row(row, self._seeds[row], tuple(ids[:-1]), list(ids))
            self._queue.append(known)
        else:
            known.pending.extend(ids)
        known.limit, known.sampling, known.ids, known.logprobs = limit, True, [], []

    def release(self, row: int) -> None:
        gone = self._rows.pop(row)
        if gone.slot >= 0:
            self._slots[gone.slot] = None
        else:
            self._queue.remove(gone)

    @torch.inference_mode()
    def advance(self) -> list[Message]:
        self._admit()
        self._extend([row for row in self._slots if row and row.sampling and len(row.pending) > 1])
        return self._decode(self._compact())

    def _admit(self) -> None:
        """Queued rows into free slots; a prompt that stands in another slot is copied from there."""
        free = [slot for slot, row in enumerate(self._slots) if row is None]
        if not self._queue or len(free) < min(max(len(self._slots) // 16, 1), len(self._queue)):
            return  # several at a time are computed faster and share more
        leaders = {row.prefix: row for row in reversed(self._slots) if row}
        fresh: list[_Row] = []
        followers: dict[tuple[int, ...], list[_Row]] = {}
        placed, self._queue = self._queue[: len(free)], self._queue[len(free) :]
        for slot, row in zip(free, placed, strict=False):
            self._slots[slot], row.slot = row, slot
            if row.prefix in leaders:
                followers.setdefault(row.prefix, []).append(row)
            elif row.prefix:
                leaders[row.prefix] = row
                fresh.append(row)
        self._begin(fresh)
        for prefix, rows in followers.items():
            self._cache.copy(leaders[prefix].slot, [row.slot for row in rows], len(prefix))
            for row in rows:
                row.pending, row.seen = row.pending[-1:], len(prefix)

    def _begin(self, fresh: list[_Row]) -> None:
        """Compute prompts; one that opens as another does (the same schema, another question) copies that."""
        known = {row.prefix[:_OPENING]: row for row in self._slots if row and row.seen >= len(row.prefix)}
        alike = [(row, known.setdefault(row.prefix[:_OPENING], row)) for row in fresh]
        self._extend([row for row, other in alike if other is row])
        for row, other in alike:
            if other is not row:
                row.seen = _common(row.prefix, other.prefix)
                row.pending = row.pending[row.seen :]
                self._cache.copy(other.slot, [row.slot], row.seen)
        self._extend([row for row, other in alike if other is not row and len(row.pending) > 1])

    def _extend(self, rows: list[_Row]) -> None:
        """Compute all pending ids but the last, which goes into the next step like a sampled one."""
        rows = sorted(rows, key=lambda row: (len(row.pending), row.index))
        while rows:
            sizes = [len(row.pending) * (row.seen + len(row.pending)) for row in rows]
            fits = (n for n in range(len(rows), 1, -1) if n * max(sizes[:n]) <= _LARGEST_PASS)
            count = next(fits, 1)
            batch, rows = rows[:count], rows[count:]
            counts = [len(row.pending) - 1 for row in batch]
            chunk = Chunk(self._cache, [row.slot for row in batch], [row.seen for row in batch], counts)
            self._forward(chunk, [i for row in batch for i in row.pending[:-1]])
            for row, n in zip(batch, counts, strict=True):
                row.seen, row.pending = row.seen + n, row.pending[-1:]

    def _compact(self) -> int:
        """Bring sampling rows to the front once a fifth of the block is idle; returns the block's size."""
        busy = [row.slot for row in self._slots if row and row.sampling]
        block = busy[-1] + 1 if busy else 0
        if 5 * len(busy) > 4 * block:
            return block
        holes = [slot for slot in range(len(busy)) if slot not in set(busy)]
        moved = busy[len(busy) - len(holes) :]
        rows = [self._slots[slot] for slot in (*holes, *moved)]
        self._cache.swap(holes, moved, max((row.seen for row in rows if row), default=0))
        for slot, row in zip((*moved, *holes), rows, strict=True):
            self._slots[slot] = row
            if row:
                row.slot = slot
        return len(busy)

    def _decode(self, block: int) -> list[Message]:
        """Sample the next token of the first `block` slots; idle ones are computed and not used."""
        if not block:
            return []
        rows = [row if row and row.sampling else None for row in self._slots[:block]]
        # an idle row writes to the position that its next real token will take
        chunk = Chunk(
            self._cache, block, [row.seen if row else 0 for row in self._slots[:block]], [1] * block
        )
        hidden = self._forward(chunk, [row.pending[0] if row else 0 for row in rows])
        numbers = uniforms(
            [row.seed if row else 0 for row in rows], [row.drawn if row else 0 for row in rows]
        )
        numbers = np.pad(numbers, (0, hidden.shape[1] - block))
        drawn = zip(rows, *draw(self._head(hidden)[0], self._temperature, numbers), strict=False)
        messages = [self._take(row, token, logprob) for row, token, logprob in drawn if row]
        return [message for message in messages if message]

    def _take(self, row: _Row, token: int, logprob: float) -> Message | None:
        row.seen, row.drawn, row.pending = row.seen + 1, row.drawn + 1, [token]
        row.ids.append(token)
        row.logprobs.append(logprob)
        if token != self._end and len(row.ids) < row.limit:
            return None
        row.sampling = False
        return Message(row.index, tuple(row.ids), tuple(row.logprobs))

    def _forward(self, chunk: Chunk, ids: list[int]) -> torch.Tensor:
        tokens, positions = chunk.padded(ids)
        extra = {"use_cache": False, "cache": self._cache, "chunk": chunk}
        return self._body(input_ids=tokens, position_ids=positions, **extra).last_hidden_state


class VLLMEngine:
    """Samples with a vLLM engine (an existing `vllm.LLM`), whose prefix cache keeps what a row has seen.

    Each message is one request with the row's whole context. Random numbers depend on the row's seed alone,
    the last bits of the logits on the batch, so an id may change where two are that close.
    New weights are loaded by whoever owns the LLM (in training: TRL), who resets the prefix cache as well.
    """

    def __init__(self, llm, end_of_turn: int):
        self.llm, self.end_of_turn = llm, end_of_turn

    @classmethod
    def load(cls, model: str, end_of_turn: int, **options) -> VLLMEngine:
        """Start vLLM on a model folder with options of `vllm.LLM`; KitError if vLLM is not installed."""
        try:
            from vllm import LLM
        except ImportError:
            raise KitError(
                "vllm is not installed: pip install '.[vllm]', or choose the transformers engine"
            ) from None
        return cls(
            LLM(model=model, skip_tokenizer_init=True, enable_prefix_caching=True, **options), end_of_turn
        )

    @contextmanager
    def session(self, seeds: Sequence[int], temperature: float, length: int):
        """See `Engine.session`; requests still under way at the end are dropped."""
        session = _VLLMSession(self.llm.llm_engine, self.end_of_turn, seeds, temperature)
        try:
            yield session
        finally:
            session.close()


class _VLLMSession:
    def __init__(self, engine, end_of_turn: int, seeds: Sequence[int], temperature: float):
        self._engine, self._end, self._seeds, self._temperature = engine, end_of_turn, seeds, temperature
        self._context: dict[int, list[int]] = {}
        self._drawn: dict[int, int] = {}

    @property
    def running(self) -> bool:
        return self._engine.has_unfinished_requests()

    def submit(self, row: int, ids: Sequence[int], limit: int) -> None:
        from vllm import SamplingParams

        context = self._context.setdefault(row, [])
        context.extend(ids)
        seed = int(uniforms([self._seeds[row]], [self._drawn.setdefault(row, 0)])[0] * 2**31)
        params = SamplingParams(
            temperature=self._temperature,
            max_tokens=limit,
            seed=seed,
            logprobs=0,
            stop_token_ids=[self._end],
            detokenize=False,
        )
        self._engine.add_request(str(row), {"prompt_token_ids": list(context)}, params)

    def advance(self) -> list[Message]:
        finished = (output for output in self._engine.step() if output.finished)
        return [self._message(int(output.request_id), output.outputs[0]) for output in finished]

    def release(self, row: int) -> None:
        del self._context[row]

    def close(self) -> None:
        if self.running:
            self._engine.abort_request([str(row) for row in self._context])

    def _message(self, row: int, output) -> Message:
        ids = tuple(output.token_ids)
        self._context[row].extend(ids)
        self._drawn[row] += len(ids)
        logprobs = tuple(at[i].logprob for i, at in zip(ids, output.logprobs, strict=True))
        return Message(row, ids, logprobs)
