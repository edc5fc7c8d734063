"""The MDP of MTSQL-R1: one question, two tools, a message limit (the paper's section 3; `docs/decisions.md`).

State: the text so far. Action: one assistant message. Transition: each call in it is executed and its
result comes back as the next user turn. The order propose, execute, verify, check the memory, correct, answer
is asked for by the prompt and not enforced, as in the released code. The last permitted message gets no tool
result: with a limit of four, at most three results are ever returned.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from mtsql_lib.dialogues import Question
from mtsql_lib.executor import Executor, Outcome
from mtsql_lib.hints import hint
from mtsql_lib.memory import DialogueMemory
from mtsql_lib.protocol import END_OF_TURN, TOOLS, ToolCall, parse_message, plain
from mtsql_lib.schema import Schema, fold_names

_TEMPLATES = Path(__file__).parent / "templates"
RESULT_CHARACTERS = {"compact": 110, "full": 200}  # 200: the released code's cut
SHOWN_ROWS = 50  # the released code's cut of the memory's results
LOGGED_ROWS = 20
CALLS_A_MESSAGE = 4  # each may run to the deadline, so a message must not hold hundreds


@dataclass(frozen=True)
class ToolResult:
    """One executed (or refused) call: in which assistant message, counted from 0, and what came of it."""

    message: int
    tool: str
    sql: str
    outcome: Outcome | None
    fault: str = ""


@dataclass(frozen=True)
class Observation:
    """What the environment appends after an assistant message; `text` is empty when the episode is done."""

    text: str
    done: bool
    stop: str = ""


@dataclass(frozen=True)
class Step:
    """One assistant message: its text and sampled ids (end-of-turn included), and what came back."""

    text: str
    ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    observation: str = ""
    observation_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Episode:
    """A finished trajectory. `stop` is answer, no_answer, message_limit or length."""

    question_id: str
    sample: int
    mode: str
    prompt: str
    prompt_ids: tuple[int, ...]
    steps: tuple[Step, ...]
    log: tuple[ToolResult, ...]
    verdicts: tuple[tuple[int, str, str], ...]
    answer: str | None
    stop: str

    @property
    def malformed(self) -> bool:
        """A call could not be read, or a message wrote a tool response itself."""
        return any(r.fault for r in self.log) or any(parse_message(step.text).forged for step in self.steps)

    def ids(self) -> list[int]:
        """Prompt, sampled and environment ids in order, shape (T,)."""
        parts = (part for step in self.steps for part in (step.ids, step.observation_ids))
        return [*self.prompt_ids, *(i for part in parts for i in part)]

    def mask(self) -> list[int]:
        """1 exactly on sampled ids, shape (T,)."""
        parts = (part for s in self.steps for part in ([1] * len(s.ids), [0] * len(s.observation_ids)))
        return [*[0] * len(self.prompt_ids), *(bit for part in parts for bit in part)]

    @property
    def interactions(self) -> int:
        """How many tool calls were answered (the paper's measure of a trajectory's length)."""
        return len(self.log)

    def within(self, limit: int) -> Episode:
        """This episode under a lower message limit. The agent is not told of the limit, so it is the same up
        to the message that would have been the last.
        """
        if all(result.message < limit - 1 for result in self.log):
            return self
        last = replace(self.steps[limit - 1], observation="", observation_ids=())
        log = tuple(result for result in self.log if result.message < limit - 1)
        verdicts = tuple(verdict for verdict in self.verdicts if verdict[0] < limit)
        steps = (*self.steps[: limit - 1], last)
        return replace(self, steps=steps, log=log, verdicts=verdicts, answer=None, stop="message_limit")

    def to_json(self) -> str:
        """The episode as one JSON object.

        Of a tool result it holds kind, message, columns and the first `LOGGED_ROWS` rows; not its wall time
        and not its tie, so that the same episode is the same bytes. Blobs become text.
        """
        data = {**vars(self), "steps": [vars(s) for s in self.steps], "log": [_logged(r) for r in self.log]}
        return json.dumps(data, ensure_ascii=False, default=_as_text)

    @staticmethod
    def from_json(text: str) -> Episode:
        """The episode that `to_json` wrote."""
        data = json.loads(text)
        data["prompt_ids"] = tuple(data["prompt_ids"])
        data["steps"] = tuple(Step(**{k: _tupled(v) for k, v in step.items()}) for step in data["steps"])
        data["log"] = tuple(ToolResult(**{**r, "outcome": _outcome(r["outcome"])}) for r in data["log"])
        data["verdicts"] = tuple(map(tuple, data["verdicts"]))
        return Episode(**data)

    def __repr__(self) -> str:
        lines = [f"Episode {self.question_id} #{self.sample}: {self.stop}, {len(self.steps)} messages"]
        for step in self.steps:
            lines.append(f"  agent> {step.text}")
            if step.observation:
                lines.append(f"  tools> {_observed(step.observation)}")
        return "\n".join(lines)


class Environment:
    """One question as an episode. `mode` is agent (tools) or direct (one message, the answer).

    A shown outcome is cut to `RESULT_CHARACTERS`, and in `compact` an unknown name is followed by a hint;
    `clauses` parses earlier SQL for the full memory template. Of a message's calls the first
    `CALLS_A_MESSAGE` are run, in order. Not thread-safe, but environments may run in different threads and
    share the executor. It scores nothing and enforces no order of actions.
    """

    def __init__(
        self,
        question: Question,
        schema: Schema,
        executor: Executor,
        memory: DialogueMemory,
        *,
        mode: str = "agent",
        tools: tuple[str, ...] = TOOLS,
        message_limit: int = 6,
        templates: str = "compact",
        clauses: Callable[[str], str] = lambda sql: "",
    ):
        self.question, self.executor, self.memory, self.schema = question, executor, memory, schema
        self.mode, self.tools, self.templates, self.clauses = mode, tools, templates, clauses
        self.message_limit = message_limit if mode == "agent" else 1
        self.prompt = self._prompt()
        self.messages = 0
        self.log: list[ToolResult] = []
        self.verdicts: list[tuple[int, str, str]] = []
        self.answer: str | None = None
        self.stop = ""

    def step(self, text: str) -> Observation:
        """Take one assistant message (without its end-of-turn token) and return what comes back."""
        if self.stop:
            raise RuntimeError(f"the episode of {self.question.id} is over ({self.stop})")
        message = parse_message(text, self.tools)
        number, self.messages = self.messages, self.messages + 1
        self.verdicts += [(number, kind, verdict) for kind, verdict in message.verdicts]
        if self.mode == "direct" or not message.calls:
            self.answer = message.answer
            return self._end("answer" if message.answer is not None else "no_answer")
        if self.messages >= self.message_limit:
            return self._end("message_limit")
        calls = message.calls[:CALLS_A_MESSAGE]
        if len(message.calls) > CALLS_A_MESSAGE:
            calls += (ToolCall("", "", f"only the first {CALLS_A_MESSAGE} calls of a message are run"),)
        responses = [self._respond(call, number) for call in calls]
        body = "\n".join(f"<tool_response>\n{r}\n</tool_response>" for r in responses)
        return Observation(f"\n<|im_start|>user\n{body}{END_OF_TURN}\n<|im_start|>assistant\n", False)

    def cut(self) -> None:
        """End the episode because the token budget is spent."""
        self._end("length")

    def episode(self, sample: int, prompt_ids: tuple[int, ...], steps: tuple[Step, ...]) -> Episode:
        """The record of what happened here; the steps come from whoever drove the environment."""
        return Episode(
            self.question.id, sample, self.mode, self.prompt, prompt_ids, steps,
            tuple(self.log), tuple(self.verdicts), self.answer, self.stop,
        )  # fmt: skip

    def _end(self, stop: str) -> Observation:
        self.stop = stop
        return Observation("", True, stop)

    def _respond(self, call: ToolCall, number: int) -> str:
        if call.fault:
            self.log.append(ToolResult(number, call.tool, call.code, None, call.fault))
            return self._fill("fault", fault=call.fault)
        outcome = self.executor.execute(self.question.database_id, call.code)
        self.log.append(ToolResult(number, call.tool, call.code, outcome))
        result = self._show(outcome) + self._hint(outcome, call.code)
        fields = {"question": plain(self.question.utterance), "sql": plain(call.code), "result": result}
        if call.tool == "exec_sql":
            return self._fill("exec_sql", next_step=self._next_step(), **fields)
        line = _template(self.templates, "memory_line")
        spelled = fold_names if self.templates == "compact" else str
        earlier = plain(self.memory.render(line, self._show, self.clauses, spelled)) or "no earlier questions"
        return self._fill("memory_retrieve", memory=earlier, **fields)

    def _next_step(self) -> str:
        if self.memory and "memory_retrieve" in self.tools:
            return "After pass, call memory_retrieve with the SQL."
        return "After pass, give the answer."

    def _show(self, outcome: Outcome | None) -> str:
        if outcome is None:
            return "no result"
        return plain(show(outcome, RESULT_CHARACTERS[self.templates]))

    def _hint(self, outcome: Outcome, sql: str) -> str:
        if self.templates != "compact" or outcome.kind != "error":
            return ""
        told = hint(outcome.message, sql, self.schema)
        return f"; {plain(told)}" if told else ""

    def _prompt(self) -> str:
        history = "".join(
            self._fill("history", number=n + 1, question=plain(turn.utterance))
            for n, turn in enumerate(self.question.history)
        )
        return self._fill(
            self.mode,
            message_limit=self.message_limit,
            schema=plain(self.schema.linear(self.templates)),
            history=history,
            question=plain(self.question.utterance),
        )

    def _fill(self, name: str, **fields: object) -> str:
        return _template(self.templates, name).format(**fields)


def show(outcome: Outcome, characters: int) -> str:
    """An outcome as the agent reads it: the number of rows and the first ones, or the error.

    At most `characters` of it, the number not counted; " ..." marks that rows were cut.
    """
    if outcome.kind == "empty":
        return "0 rows"
    if not outcome.ok:
        return f"error: {outcome.message}"[:characters]
    count = len(outcome.rows)
    rows = " | ".join(", ".join(_cell(value) for value in row) for row in outcome.rows[:SHOWN_ROWS])
    if len(rows) > characters:
        rows = rows[:characters].rsplit(" ", 1)[0] + " ..."
    elif count > SHOWN_ROWS:
        rows += " ..."
    return f"{count} row{'s' if count != 1 else ''}: {rows}"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "null" if value is None else " ".join(str(value).split())


def _observed(text: str) -> str:
    for markup in ("<|im_start|>user", "<|im_start|>assistant", END_OF_TURN):
        text = text.replace(markup, "")
    return " ".join(text.split())


@cache
def _template(style: str, name: str) -> str:
    text = (_TEMPLATES / style / f"{name}.txt").read_text(encoding="utf-8")
    return text if name in ("agent", "direct", "history") else text.rstrip("\n")


def _logged(result: ToolResult) -> dict:
    outcome = result.outcome
    if outcome is None:
        return vars(result)
    rows = outcome.rows[:LOGGED_ROWS]
    kept = {"kind": outcome.kind, "columns": outcome.columns, "rows": rows, "message": outcome.message}
    return {**vars(result), "outcome": kept}


def _as_text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    raise TypeError(f"{type(value).__name__} in an episode")


def _tupled(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _outcome(data: dict | None) -> Outcome | None:
    if data is None:
        return None
    return Outcome(data["kind"], tuple(data["columns"]), tuple(map(tuple, data["rows"])), data["message"])
