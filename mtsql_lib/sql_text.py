"""The official evaluator's editing of SQL before it runs it: only the first statement counts, and DISTINCT is
deleted.

It cuts SQL with the lexer of sqlparse; `lex` gives the same pieces as far as they matter here. They are not
SQLite's tokens (`statements.tokens`): an unclosed quote, say, is one odd character here. It knows no grammar,
and it does not follow the BEGIN ... END blocks of stored procedures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_PIECES = r"""(?x)

    (?P<comment> (?:--|\#\ ).*?(?:\r\n|\r|\n|$) | /\*[\s\S]*?\*/ )
  | (?P<space> \s )
  | (?P<mark> (?<![\w"$])(?P<tag>\$(?:[_A-Za-zÀ-ÿ]\w*)?\$)[\s\S]*?(?P=tag) | := | ::
      | `(?:``|[^`])*` | ´(?:´´|[^´])*´ | \? | %(?:\(\w+\))?[sS] | (?<!\w)[$:]\w+ | \\\w+
      | (?:@|\#\#|\#)[A-Za-zÀ-ÿ]\w+ )
  | (?P<number> -?0[xX][\dA-Fa-f]+ | -?\d+(?:\.\d+)?[eE]-?\d+
      | -?(?:\d+\.\d*|\.\d+)(?![_A-Za-zÀ-ÿ]) | -?\d+(?![_A-Za-zÀ-ÿ]) )
  | (?P<literal> '(?:''|\\'|[^'])*' | "(?:""|\\"|[^"])*" )
  | (?P<name> (?<![\w\])])\[[^\]\[]+\] )
  | (?P<word> (?<=\.)[A-Za-zÀ-ÿ]\w* | GO\s\d+\b | \w[$#\w]* )
  | (?P<sign> [;()] | <@ | [<>=~!]+ | -(?:>>?)? | \#(?:>>?|-) | @> | [+/@\#%^&|-]+ | . )
    """


_NAME_FOLLOWS = re.compile(r"\s*\.(?!\d)|\(")
_TAME = re.compile(r"""[\s\w.,;()*<>=!+/-]*(?:(?:'[^'\\]*'|"[^"\\]*")[\s\w.,;()*<>=!+/-]*)*""", re.ASCII)
_TAME_DISTINCT = re.compile(r"""('[^']*'|"[^"]*")|(?<=[\s(])distinct\s|\bdistinct\b""", re.I)


def lex(text: str) -> Iterator[tuple[str, str]]:
    """The pieces of SQL in order as (kind, text); joined they give the text again.

    Kinds: comment, space (one character), mark (quoted or placeholder names and other oddities), number,
    literal (either quote), name (in brackets), word, sign. An unclosed quote is a sign of one character, and
    what follows it is read as SQL.
    """
    return ((piece.lastgroup, piece.group()) for piece in re.finditer(_PIECES, text))


def first_statement(text: str) -> str:
    """The text up to its first `;` outside parentheses, that included. The word GO in capitals ends a
    statement too.
    """
    if text.find(";") in (-1, len(text) - 1) and not ("GO" in text and re.search(r"(?<!\w)GO(?!\w)", text)):
        return text
    length = level = 0
    for kind, piece in lex(text):
        length += len(piece)
        if kind == "sign":
            level += (piece == "(") - (piece == ")")
            if piece == ";" and level <= 0:
                break
        elif kind == "word":
            if piece.split()[0] == "GO" and not _NAME_FOLLOWS.match(text, length):
                break
            level -= piece.upper() == "END"
    return text[:length]


def without_distinct(text: str) -> str:
    """The first statement without its DISTINCT words; literals, comments and quoted names are left alone."""
    text = first_statement(text)
    if "distinct" not in text.lower():
        return text
    if "--" not in text and "/*" not in text and _TAME.fullmatch(text):
        return _TAME_DISTINCT.sub(lambda found: found.group(1) or "", text)
    return "".join(piece for _, piece in lex(text) if piece.lower() != "distinct")
