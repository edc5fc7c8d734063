"""The six actions and their surface form: what a message may say, how it is read, and how one is composed.

PROPOSE and SELF-CORRECT are the SQL inside a hermes tool call, EXECUTE is the call to `exec_sql`, E-VERIFY
and M-VERIFY are verdict tags, the memory is read with `memory_retrieve`, FINALIZE is `<answer_sql>`. A
`<tool_response>` that the model writes itself is cut out before anything is read: only the environment's
log counts. What was left out: repair of half-written markup. A call that cannot be read gets a sentence that
says why; an answer tag that is not closed is no answer.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

END_OF_TURN = "<|im_end|>"
TOOLS = ("exec_sql", "memory_retrieve")
VERDICTS = ("pass", "no_pass")
_FORM = '{"name": ..., "arguments": {"code": ...}}'

_THINK = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_FORGED = re.compile(r"<tool_response>.*?(?:</tool_response>|\Z)", re.DOTALL)
_CALL = re.compile(r"<tool_call>(.*?)(</tool_call>|(?=<tool_call>)|\Z)", re.DOTALL)
# up to the next opening only: the last opened answer counts, and thousands of openings cost no quadratic time
_ANSWER = re.compile(r"<answer_sql>((?:(?!<answer_sql>).)*?)</answer_sql>", re.DOTALL)
_VERDICT = re.compile(r"<(exec|memory)_verify>\s*(pass|no_pass)\s*</\1_verify>")
_MARKUP = re.compile(r"<(?=\||/?(?:tool_|think|answer_sql|exec_verify|memory_verify))")


@dataclass(frozen=True)
class ToolCall:
    """One call as the model wrote it; `fault` is the sentence the agent gets instead of a result."""

    tool: str
    code: str
    fault: str = ""


@dataclass(frozen=True)
class Message:
    """An assistant message, read: `answer` is None without an answer tag; `forged` marks a tool response."""

    calls: tuple[ToolCall, ...] = ()
    verdicts: tuple[tuple[str, str], ...] = ()
    answer: str | None = None
    forged: bool = False


def parse_message(text: str, tools: tuple[str, ...] = TOOLS) -> Message:
    """Read an assistant message without its end-of-turn token; never raises."""
    forged = "<tool_response>" in text
    visible = _THINK.sub("", _FORGED.sub("", text))
    calls = tuple(_call(body, bool(closing), tools) for body, closing in _CALL.findall(visible))
    rest = _CALL.sub("", visible)
    answers = answers_in(rest)
    return Message(calls, tuple(_VERDICT.findall(rest)), answers[-1] if answers else None, forged)


def answers_in(text: str) -> list[str]:
    """The SQL of every answer tag in a text, wherever it stands."""
    return [one_line(sql) for sql in _ANSWER.findall(text)]


def one_line(sql: str) -> str:
    """SQL on one line, as the released code takes it out of a text; spaces inside literals stay."""
    lines = (line.strip() for line in re.split(r"[\r\n]+", sql))
    return " ".join(line for line in lines if line)


def _call(body: str, closed: bool, tools: tuple[str, ...]) -> ToolCall:
    if not closed:
        return ToolCall("", "", "the tool call has no closing </tool_call>")
    try:
        # strict=False: a raw newline inside the SQL string is what models write, and it is unambiguous.
        call = json.loads(body, strict=False)
    except (ValueError, RecursionError):  # ValueError also stands for a number of more than 4,300 digits
        call = None
    if not isinstance(call, dict):
        return ToolCall("", "", f"the tool call is not JSON of the form {_FORM}")
    name, arguments = call.get("name"), call.get("arguments")
    if not isinstance(name, str) or name not in tools:
        fault = f"there is no tool named {_shown(name)}" if isinstance(name, str) else "the call has no name"
        return ToolCall("", "", f"{fault}; the tools are {', '.join(tools)}")
    if not isinstance(arguments, dict) or not isinstance(arguments.get("code"), str):
        return ToolCall(name, "", f"{name} needs one argument, code, a string")
    # JSON can spell half a surrogate pair, which is no text for a tokenizer, a database or a file
    return ToolCall(name, arguments["code"].encode("utf-8", "replace").decode())


def _shown(name: str) -> str:
    # the sentence is spoken by the environment, so what the model wrote must not come back as markup
    return " ".join(plain(name[:40]).encode("utf-8", "replace").decode().split())


def compose_call(tool: str, code: str) -> str:
    """The text of one tool call, with the spacing of Qwen3's template."""
    quoted = json.dumps(code, ensure_ascii=False)
    return f'<tool_call>\n{{"name": "{tool}", "arguments": {{"code": {quoted}}}}}\n</tool_call>'


def compose(
    *,
    think: str = "",
    verdict: tuple[str, str] | None = None,
    call: tuple[str, str] | None = None,
    answer: str | None = None,
) -> str:
    """An assistant message in the canonical order: thought, verdict, then a call or the answer.

    `parse_message` reads back what was put in, unless a part holds the protocol's own tags.
    """
    parts = [f"<think>{think}</think>"] if think else []
    if verdict:
        parts.append(f"<{verdict[0]}_verify>{verdict[1]}</{verdict[0]}_verify>")
    if call:
        parts.append(compose_call(*call))
    if answer is not None:
        parts.append(f"<answer_sql>{answer}</answer_sql>")
    return "\n".join(parts)


def plain(text: str) -> str:
    """Text of a user or a database with its markup disarmed: data can never speak as the protocol."""
    return _MARKUP.sub("< ", text)
