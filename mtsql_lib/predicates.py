"""Predicates that a set of templates and a codec must hold, so that masks and caches are right.

The idea is TRL's, three promises of a conversation that grows: what was already rendered stays
(prefix-preserving), what the model wrote is marked (generation markers), and the end-of-turn token is part
of it. `growth_faults` asks for them, of the kit's templates and of a tokenizer's chat template alike. Qwen3's
own drops the thoughts on earlier questions and has no markers, so the kit never renders a conversation again:
it appends ids. Each function returns sentences on what does not hold; none is good. `make doctor` and the
tests ask them. They look at scripted episodes that use every template, and prove nothing of other texts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
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
_MARKER = re.compile(r"\{%-?\s*generation\s*-?%\}")
_FIELD = re.compile(r"\{[a-z_]+\}")
_GOLD = "SELECT name FROM ferry WHERE flag = 'NOR'"
_MESSAGES = (
    compose(think="try the flag", call=("exec_sql", "SELECT nam FROM ferry")),
    "<tool_call>\nnot json\n</tool_call>",
    compose(think="it is name", verdict=("exec", "no_pass"), call=("exec_sql", _GOLD)),
    compose(verdict=("exec", "pass"), call=("memory_retrieve", _GOLD)),
    compose(verdict=("memory", "pass"), answer=_GOLD),
)
# the same as messages for a chat template, with Qwen3's line breaks around a thought, and a second question
_CHAT = (
    ("system", "You write SQL."),
    ("user", "how many are there?"),
    ("assistant", "<think>\ncount them\n</think>\n\n" + compose(call=("exec_sql", "SELECT nam FROM ferry"))),
    ("tool", "error: no such column: nam"),
    ("assistant", compose(call=("exec_sql", _GOLD))),
    ("tool", "2 rows: Nordlys | Ternen"),
    ("assistant", "<think>\ntwo rows\n</think>\n\n" + compose(answer=_GOLD)),
    ("user", "which are norwegian?"),
    ("assistant", "<think>\nthe flag\n</think>\n\n" + compose(answer=_GOLD)),
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


@dataclass(frozen=True)
class Rendered:
    """A conversation as text, and (start, end) in it of every span that the model is trained on."""

    text: str
    spans: tuple[tuple[int, int], ...]

    def words(self) -> list[str]:
        """The text of each span."""
        return [self.text[start:end] for start, end in self.spans]


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


def growth(episode: Played) -> list[Rendered]:
    """The episode as it grows: after the prompt, after each message, after each observation."""
    stages, text, spans = [], "", ()
    for piece, generated in episode.pieces():
        spans += ((len(text), len(text) + len(piece)),) if generated else ()
        text += piece
        stages.append(Rendered(text, spans))
    return stages


def chat_growth(chat_template: str) -> list[Rendered]:
    """A scripted conversation as a Jinja chat template renders it: as each prompt, and with each message.

    Jinja runs as `apply_chat_template` of transformers runs it; spans are those of `{% generation %}`.
    """
    turns = [number for number, (role, _) in enumerate(_CHAT) if role == "assistant"]
    stages = ((turn + said, not said) for turn in turns for said in (0, 1))
    return [_render(chat_template, count, prompt) for count, prompt in stages]


def chat_template_faults(chat_template: str) -> list[str]:
    """Which of the three promises a Jinja chat template does not hold."""
    return growth_faults(
        chat_growth(chat_template), [content for role, content in _CHAT if role == "assistant"]
    )


def growth_faults(stages: Sequence[Rendered], said: Sequence[str]) -> list[str]:
    """The three promises of a growing conversation in which the model has `said` these messages."""
    faults = []
    if not all(_continues(later, earlier) for earlier, later in pairwise(stages)):
        faults.append("what follows changes what was rendered before: it is not prefix-preserving")
    words = stages[-1].words()
    spoken = [message.split("</think>")[-1].strip() for message in said]
    if len(words) != len(said) or any(s not in w for s, w in zip(spoken, words, strict=False)):
        faults.append(f"{len(words)} spans are marked as generated where the model said {len(said)} messages")
    if not all(word.rstrip("\n").endswith(END_OF_TURN) for word in words):
        faults.append(f"a generated span does not end with {END_OF_TURN}: the model would not learn to stop")
    return faults


def _continues(later: Rendered, earlier: Rendered) -> bool:
    return later.text.startswith(earlier.text) and later.spans[: len(earlier.spans)] == earlier.spans


def _render(chat_template: str, count: int, prompt: bool) -> Rendered:
    from transformers.utils.chat_template_utils import render_jinja_template

    messages = [{"role": role, "content": content} for role, content in _CHAT[:count]]
    texts, spans = render_jinja_template(
        [messages],
        chat_template=chat_template,
        return_assistant_tokens_mask=bool(_MARKER.search(chat_template)),
        add_generation_prompt=prompt,
    )
    return Rendered(texts[0], tuple(map(tuple, spans[0])) if spans else ())


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
    return faults + growth_faults(growth(episode), [message for message, _ in episode.exchanges])


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
