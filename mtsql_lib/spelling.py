"""The tiny model's spelling: text as words from a small vocabulary, each name the same tokens wherever it
stands.

A language model of five million parameters copies names from schema and question into SQL. It can do so
only if "flag state" in a question and `flag_state`, `FlagState` or `'Flag State'` elsewhere are the same
tokens in the same order. So text is split into lower-case words, punctuation and pairs of digits; what is
usual between two of them (a space in text, an underscore in a name) costs nothing, and only departures cost
a token:

* letter case is a marker in front of a word (`<U>` all capitals, `<T>` one capital), a regular plural is the
  singular and a token of its own;
* in *code*, that is after `SELECT` or in a schema line (which begins with `# `), words side by side are one
  name in snake case, or in camel case behind the marker `<C>` (FlagState) or `<c>` (flagState);
* fixed strings of the protocol are one token each.

`unspell(spell(text)) == text` for every text. What was left out: anything language-specific beyond the
plural; other scripts fall back to UTF-8 bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

GLUE, SPACE, NEWLINE, PLURAL = "<glue>", "<space>", "<newline>", "+s"
UPPER, TITLE, CAMEL, LOWER_CAMEL, TABLE = "<U>", "<T>", "<C>", "<c>", "<|table|>"
_CALL = '<tool_call>\n{"name": "%s", "arguments": {"code": "'

# Fixed strings of chat markup and protocol, each one token: (text, token).
MACROS = {
    "<|im_end|>": "<|im_end|>",
    "<|endoftext|>": "<|endoftext|>",
    "<|im_start|>user\n": "<|user|>",
    "<|im_start|>assistant\n": "<|assistant|>",
    "Q: ": "<|q|>",
    "\n<|im_start|>user\n<tool_response>\n": "<|response|>",
    "\n</tool_response>": "<|/response|>",
    "\n<tool_response>\n": "<|response2|>",
    "<|im_end|>\n<|im_start|>assistant\n": "<|go|>",
    " /agent<|im_end|>\n<|im_start|>assistant\n": "<|agent|>",
    " /direct<|im_end|>\n<|im_start|>assistant\n": "<|direct|>",
    _CALL % "exec_sql": "<|exec_sql|>",
    _CALL % "memory_retrieve": "<|memory_retrieve|>",
    '"}}\n</tool_call>': "<|/call|>",
    "<think>": "<think>",
    "</think>\n": "</think>",
    "<exec_verify>pass</exec_verify>\n": "<exec_pass>",
    "<exec_verify>no_pass</exec_verify>\n": "<exec_no_pass>",
    "<memory_verify>pass</memory_verify>\n": "<memory_pass>",
    "<memory_verify>no_pass</memory_verify>\n": "<memory_no_pass>",
    "<answer_sql>": "<answer_sql>",
    "</answer_sql>": "</answer_sql>",
}
KEYWORDS = (
    *"SELECT DISTINCT FROM JOIN ON AS WHERE AND OR NOT IN LIKE BETWEEN IS NULL HAVING".split(),
    *"ASC DESC LIMIT UNION INTERSECT EXCEPT".split(),
    "GROUP BY",
    "ORDER BY",
)
_PUNCTUATION = (">=", "<=", "!=", "->", " '", *"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")

_MACRO = "|".join(re.escape(m) for m in sorted(MACROS, key=len, reverse=True))
_KEYWORD = rf"(?<![A-Za-z0-9_])(?:{'|'.join(sorted(KEYWORDS, key=len, reverse=True))})(?![A-Za-z0-9_])"
_COMMON = (
    r"|(?P<digits>[0-9]{1,2})|(?P<newline>\n)|(?P<open> '(?! ))|(?P<space> +)"
    r"|(?P<mark>>=|<=|!=|->|[!-/:-@\[-`{-~])|(?P<other>.)"
)
_WORDS = r"|(?P<upper>[A-Z]{2,40}(?![a-z]))|(?P<title>[A-Z][a-z]{0,40})|(?P<lower>[a-z]{1,40})"
_START = rf"(?P<macro>{_MACRO})|(?P<table>(?:(?<=\n)|\A)# )|(?P<keyword>{_KEYWORD})"
_NAME = r"|(?P<camel>(?<![A-Za-z0-9_])[A-Za-z][a-z]*(?:[A-Z][a-z]+)+(?![A-Za-z0-9_]))"
_TEXT_LEXEME = re.compile(_START + _WORDS + _COMMON, re.DOTALL)
_CODE_LEXEME = re.compile(_START + _NAME + _WORDS + _COMMON, re.DOTALL)
_LETTER = re.compile(r"[A-Za-z]")
_HUMP = re.compile(r"[A-Z]?[a-z]+|[A-Z]")
_IN_IES = re.compile(r".*[^aeiou]y\Z", re.IGNORECASE)
_IN_ES = ("ss", "x", "ch", "sh")

_OPENING, _TIGHT = frozenset('(_./-~@#$[{\\^`"'), frozenset(",.)?!:;%'_/-\"]}~@\\^`")
_LOOSE_MARKS = frozenset({"=", ">", "<", ">=", "<=", "!=", "->", "|", "*", "+", "&"})
_WORDLIKE = frozenset({"upper", "title", "lower", "digits"})
_LETTERS = frozenset({"upper", "title", "lower", "hump"})


@dataclass(frozen=True)
class _Lexeme:
    """A piece of text: its kind, its text, and whether it stands in code (outside of string literals)."""

    kind: str
    text: str
    code: bool = False


_NOTHING = _Lexeme("start", "")


def fixed_tokens() -> list[str]:
    """Every token that is not a piece of a lower-case word, in vocabulary order."""
    keywords = [keyword.replace(" ", "_") for keyword in KEYWORDS]
    numbers = [str(n) for n in range(10)] + [f"{n:02d}" for n in range(100)]
    byte_tokens = [f"<0x{n:02X}>" for n in range(256)]
    markers = [GLUE, SPACE, NEWLINE, PLURAL, UPPER, TITLE, CAMEL, LOWER_CAMEL, TABLE]
    return [*MACROS.values(), *markers, *keywords, *map(_mark_token, _PUNCTUATION), *numbers, *byte_tokens]


class _Region:
    """Where a text stands: in code or not, inside a string literal or not. Both directions walk through the
    same states.
    """

    def __init__(self) -> None:
        self.code = self.literal = False

    @property
    def names(self) -> bool:
        """True where words side by side are one name."""
        return self.code and not self.literal

    def pass_by(self, kind: str, text: str) -> None:
        """Take note of a lexeme."""
        if kind in ("macro", "newline"):
            self.code = self.literal = False
        elif kind == "table" or (kind == "keyword" and text == "SELECT"):
            self.code = True
        elif self.code and text in ("'", " '"):
            self.literal = not self.literal


def spell(text: str) -> list[str]:
    """Text as spelled tokens; lower-case words are still whole (the tokenizer cuts them into pieces)."""
    tokens: list[str] = []
    left, spaces, region, position, joined = _NOTHING, 0, _Region(), 0, False
    while position < len(text):
        found = (_CODE_LEXEME if region.names else _TEXT_LEXEME).match(text, position)
        kind, lexeme, position = found.lastgroup, found.group(), found.end()
        if kind == "space":
            spaces += len(lexeme)
            continue
        if (
            lexeme == "_"
            and region.names
            and not spaces
            and left.kind in _WORDLIKE
            and _LETTER.match(text, position)
        ):
            joined = True
            continue
        if kind == "open" and spaces:  # the quote carries its space only where it is the only one
            kind, lexeme, spaces = "mark", "'", spaces + 1
        for here in _parts(kind, lexeme, region.names):
            tokens += ([] if joined else _spacing(left, here, spaces)) + _tokens(here)
            left, spaces, joined = here, 0, False
        region.pass_by(kind, lexeme)
    return tokens + [SPACE] * spaces


def _parts(kind: str, lexeme: str, code: bool) -> list[_Lexeme]:
    if kind != "camel":
        return [_Lexeme(kind, lexeme, code)]
    humps = _HUMP.findall(lexeme)
    return [_Lexeme("camel", lexeme[0], code), *(_Lexeme("hump", hump, code) for hump in humps)]


def unspell(tokens: list[str]) -> str:
    """Text of spelled tokens; total: a sequence that no text spells (a model may write one) still gives
    some text.
    """
    out: list[str] = []
    left, spaces, glued, case, region = _NOTHING, 0, False, "", _Region()
    style = ""
    for token in tokens:
        if token in (SPACE, GLUE):
            spaces, glued = spaces + (token == SPACE), glued or token == GLUE
        elif token in (UPPER, TITLE):
            case = token
        elif token == PLURAL:
            out.append(_plural(out.pop() if left.kind in _LETTERS else "", left.kind == "upper"))
        else:
            if token in (CAMEL, LOWER_CAMEL):
                here = _Lexeme("camel", "", region.names)
            else:
                here = _lexeme(
                    token,
                    case,
                    region.names,
                    style if left.kind in ("camel", "hump") and not (spaces or glued or case) else "",
                )
            usual = "" if glued or spaces else _usual(left, here)
            out += [" " * spaces or usual, here.text]
            style = token if here.kind == "camel" else (CAMEL if here.kind == "hump" else "")
            region.pass_by(here.kind, here.text)
            left, spaces, glued, case = here, 0, False, ""
    return _joined(out) + " " * spaces


def _joined(parts: list[str]) -> str:
    # byte tokens travel as surrogates so that a character of several bytes is put together at the end
    return "".join(parts).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _spacing(left: _Lexeme, right: _Lexeme, spaces: int) -> list[str]:
    """The tokens that say how many spaces stand between two lexemes, none where it is the usual."""
    usual = _usual(left, right)
    if spaces == 0:
        return [GLUE] if usual else []
    return [] if usual == " " and spaces == 1 else [SPACE] * spaces


def _usual(left: _Lexeme, right: _Lexeme) -> str:
    """What usually stands between two lexemes: nothing, a space or (inside a name) an underscore."""
    kinds = {left.kind, right.kind}
    if kinds & {"start", "macro", "table", "other", "newline"} or right.kind == "hump":
        return ""
    if " '" in (left.text, right.text) or left.kind == right.kind == "digits":
        return ""
    if right.code and left.code and left.kind in _WORDLIKE and right.kind in _WORDLIKE:
        return "" if right.kind == "digits" else "_"
    if left.text in _OPENING or right.text in _TIGHT or (left.text == "*" and right.text == ")"):
        return ""
    if right.text == "(":
        return " " if left.kind == "keyword" or left.text in _LOOSE_MARKS else ""
    return " "


def _tokens(here: _Lexeme) -> list[str]:
    kind, text = here.kind, here.text
    if kind == "macro":
        return [MACROS[text]]
    if kind in ("table", "newline"):
        return [TABLE if kind == "table" else NEWLINE]
    if kind == "camel":
        return [CAMEL if text.isupper() else LOWER_CAMEL]
    if kind == "keyword":
        return [text.replace(" ", "_")]
    if kind in _LETTERS:
        marker = {"upper": [UPPER], "title": [TITLE]}.get(kind, [])
        word = text.lower()
        return marker + ([singular, PLURAL] if (singular := singular_of(word)) else [word])
    if kind == "other":
        return [f"<0x{byte:02X}>" for byte in text.encode("utf-8", "surrogatepass")]
    return [_mark_token(text)] if kind in ("mark", "open") else [text]


def _plural(word: str, capitals: bool = False) -> str:
    """The regular plural that can be undone: "cities", "classes", "films". Unlike the generated world's, it
    takes "houses" for the plural of "house", and so never gives "buses".
    """
    stem, ending = word, "es" if word.lower().endswith(_IN_ES) else "s"
    if _IN_IES.match(word):
        stem, ending = word[:-1], "ies"
    return stem + (ending.upper() if capitals else ending)


def singular_of(word: str) -> str:
    """The word that has this regular plural; "" if there is none of three letters or more."""
    candidates = (word[:-3] + "y", word[:-2], word[:-1])
    fits = (c for c in candidates if len(c) > 2 and (c[-1] != "s" or c[-2] == "s") and _plural(c) == word)
    return next(fits, "")


def _lexeme(token: str, case: str, code: bool, style: str) -> _Lexeme:
    if token in _FIXED_TEXT:
        kind, text = _FIXED_TEXT[token]
        return _Lexeme(kind, text, code)
    if token.startswith("<0x"):
        return _Lexeme("other", bytes([int(token[3:5], 16)]).decode("utf-8", "surrogateescape"), code)
    if token.isdigit():
        return _Lexeme("digits", token, code)
    if style:
        return _Lexeme("hump", token if style == LOWER_CAMEL else token.capitalize(), code)
    if case == UPPER:
        return _Lexeme("upper", token.upper(), code)
    return _Lexeme("title", token.capitalize(), code) if case == TITLE else _Lexeme("lower", token, code)


def _mark_token(mark: str) -> str:
    return "<quote>" if mark == " '" else mark


_FIXED_TEXT = (
    {token: ("macro", text) for text, token in MACROS.items()}
    | {keyword.replace(" ", "_"): ("keyword", keyword) for keyword in KEYWORDS}
    | {_mark_token(mark): ("open" if mark == " '" else "mark", mark) for mark in _PUNCTUATION}
    | {NEWLINE: ("newline", "\n"), TABLE: ("table", "# ")}
)
