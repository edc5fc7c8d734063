"""Predicates that a set of templates and a codec must hold, so that masks and caches are right.

The idea is TRL's: a conversation that grows must keep what was already rendered (prefix-preserving), and
what the model is trained to write must contain its end-of-turn token. Each function returns sentences on what
does not hold; none is good. `make doctor` and the tests ask them. They look at one scripted episode that uses
every template, and prove nothing of other texts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtsql_lib.dialogues import Question, Turn
from mtsql_lib.environment import Environment
from mtsql_lib.executor import Outcome
from mtsql_lib.memory import DialogueMemory
from mtsql_lib.protocol import END_OF_TURN, compose
from mtsql_lib.schema import Schema, SchemaColumn, SchemaTable

if TYPE_CHECKING:
    from mtsql_lib.tokens import Codec

STYLES = ("compact", "full")
_TURN = re.compile(r"<\|im_start\|>(system|user|assistant)\n(.*?)<\|im_end\|>\n?", re.DOTALL)
_FIELD = re.compile(r"\{[a-z_]+\}")
_GOLD = "SELECT name FROM ferry WHERE flag = 'NOR'"
_MESSAGES = (
    compose(think="try the flag", call=("exec_sql", "SELECT nam FROM ferry")),
    "<tool_call>\nnot json\n</tool_call>",
    compose(think="it is name", verdict=("exec", "no_pass"), call=("exec_sql", _GOLD)),
    compose(verdict=("exec", "pass"), call=("memory_retrieve", _GOLD)),
    compose(verdict=("memory", "pass"), answer=_GOLD),
)


@dataclass(frozen=True)
class Played:
    """The scripted episode as text: the prompt, then (message, observation) pairs; the last has none."""

    prompt: str
    exchanges: tuple[tuple[str, str], ...]

    def pieces(self) -> list[tuple[str, bool]]:
        """Every piece in order with True where the model wrote it; its end-of-turn token belongs to it."""
        said = [p for m, o in self.exchanges for p in ((m + END_OF_TURN, True), (o, False)) if p[0]]
        return [(self.prompt, False), *said]


class _Answers:
    """An executor of two answers."""

    def execute(self, database_id: str, sql: str) -> Outcome:
        if sql.startswith("SELECT nam "):
            return Outcome("error", message="no such column: nam")
        return Outcome("rows", ("name",), (("Nordlys",), ("Ternen",)))


def played(style: str, mode: str = "agent") -> Played:
    """A scripted episode in a template set."""
    columns = (SchemaColumn("name", "TEXT"), SchemaColumn("Flag", "TEXT"))
    schema = Schema("harbour", (SchemaTable("Ferry", columns),))
    history = (Turn("how many are there?", "SELECT count(*) FROM Ferry"),)
    question = Question("d/1", "d", 1, "harbour", history, "which are norwegian?", _GOLD)
    memory = DialogueMemory(question, _Answers())
    environment = Environment(
        question, schema, _Answers(), memory, mode=mode, message_limit=len(_MESSAGES), templates=style
    )
    messages = _MESSAGES if mode == "agent" else _MESSAGES[-1:]
    return Played(environment.prompt, tuple((m, environment.step(m).text) for m in messages))


def template_faults(style: str) -> list[str]:
    """What a template set does not hold: markup that opens and closes, turns that alternate, whole spans."""
    return [
        f"{style}, {mode}: {fault}" for mode in ("agent", "direct") for fault in _faults(played(style, mode))
    ]


def _faults(episode: Played) -> list[str]:
    faults = []
    text = "".join(piece for piece, _ in episode.pieces())
    turns = _TURN.findall(text)
    if _TURN.sub("", text):
        faults.append("there is text outside of turns, or a turn that is not closed")
    roles = [role for role, _ in turns if role != "system"]
    if roles != ["user", "assistant"] * len(episode.exchanges):
        faults.append(f"the turns are {', '.join(roles)} where user and assistant must alternate")
    generated = [content for role, content in turns if role == "assistant"]
    if generated != [message for message, _ in episode.exchanges]:
        faults.append("an assistant turn is not exactly what the model wrote")
    if _FIELD.search(text):
        faults.append("a field of a template was not filled")
    return faults


def codec_faults(codec: Codec, style: str) -> list[str]:
    """What a codec does not hold on a template set's episode: one end-of-turn token, prefixes, text."""
    faults = []
    if codec.pad == codec.end_of_turn:
        faults.append(
            "the pad token is the end-of-turn token, so a mask made from padding would hide the end"
        )
    if codec.encode(END_OF_TURN) != [codec.end_of_turn]:
        faults.append(f"{END_OF_TURN} is not one token")
    pieces = played(style).pieces()
    ids: list[int] = []
    for text, generated in pieces:
        part = codec.encode(text)
        ids += part
        if generated and (part[-1:] != [codec.end_of_turn] or part.count(codec.end_of_turn) != 1):
            faults.append(f"a generated span does not end with its one end-of-turn token: {text[:40]!r}")
        if codec.decode(part) != text:
            faults.append(f"decoding does not give back {text[:40]!r}")
    if codec.encode("".join(text for text, _ in pieces)) != ids:
        faults.append("the whole episode is encoded otherwise than its pieces: prefixes are not preserved")
    return [f"{style}: {fault}" for fault in faults]
