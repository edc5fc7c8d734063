"""A small document: sections of text, tables and figures, written as Markdown or as one HTML file.

The HTML needs nothing beside it: figures are SVG inside. Markdown has no figures, their sentences stand in
for them, because GitHub and notebooks show no inline SVG. What was left out: links and nested sections.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_CSS = """ body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0
1rem; color: #1a1a1a } h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom:
1px solid #ddd } table { border-collapse: collapse; margin: .8rem 0; font-size: .88rem } .wide { overflow-x:
auto } th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #eee; white-space: nowrap
} th:first-child, td:first-child { text-align: left } th { border-bottom: 2px solid #bbb; font-weight: 600 }
figure { margin: 1rem 0 } figure svg { max-width: 100%; height: auto } figcaption, .note { color: #555;
font-size: .88rem } code { background: #f4f4f4; padding: 0 .2rem }
"""


@dataclass(frozen=True)
class Grid:
    """A table of texts; `note` is a sentence below it."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure as an SVG element with the sentence that says what it shows."""

    svg: str
    sentence: str


@dataclass(frozen=True)
class Section:
    """A title and what follows it: paragraphs (str), tables and figures. `code` in backticks is kept as
    such.
    """

    title: str
    parts: Sequence[str | Grid | Picture]


def markdown(title: str, sections: Sequence[Section]) -> str:
    """The document as GitHub Markdown."""
    lines = [f"# {title}", ""]
    for section in sections:
        lines += [f"## {section.title}", ""]
        for part in section.parts:
            if not isinstance(part, Picture):
                lines += [_as_markdown(part), ""]
    return "\n".join(lines)


def html(title: str, sections: Sequence[Section]) -> str:
    """The document as one self-contained HTML page."""
    body = "\n".join(
        f"<h2>{escape(s.title)}</h2>\n" + "\n".join(_as_html(part) for part in s.parts) for s in sections
    )
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_CSS}</style>'
    opening = f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body><h1>{escape(title)}</h1>'
    return f"{opening}\n{body}\n</body></html>\n"


def _as_markdown(part: str | Grid) -> str:
    if isinstance(part, str):
        return part
    marks = ["---", *["---:"] * (len(part.columns) - 1)]
    lines = ["| " + " | ".join(_cell(c) for c in cells) + " |" for cells in (part.columns, marks, *part.rows)]
    return "\n".join(lines + (["", part.note] if part.note else []))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _as_html(part: str | Grid | Picture) -> str:
    if isinstance(part, str):
        return f"<p>{_inline(part)}</p>"
    if isinstance(part, Picture):
        return f"<figure>{part.svg}<figcaption>{escape(part.sentence)}</figcaption></figure>"
    head = "".join(f"<th>{_inline(c)}</th>" for c in part.columns)
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{_inline(c)}</td>" for c in cells) + "</tr>" for cells in part.rows
    )
    note = f'<p class="note">{_inline(part.note)}</p>' if part.note else ""
    return f'<div class="wide"><table><tr>{head}</tr>\n{rows}</table></div>{note}'


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
