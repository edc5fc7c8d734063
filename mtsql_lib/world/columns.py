"""Columns of the generated world: a concept that suits the table, named, with values or bounds.

Left out: dependence between columns (a `city` may lie in any `country`).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from mtsql_lib.world.labels import EXTRAS, make_labels, maker_for
from mtsql_lib.world.naming import Style
from mtsql_lib.world.spec import ColumnSpec, Value
from mtsql_lib.world.surfaces import random_mode, surfaced
from mtsql_lib.world.words import Concept, Noun, Vocabulary, invent

_INVENTED_SHARE = 0.23
_INVENTED_VALUE_SHARE = 0.15  # values are copied, and most real ones are in no list
_ANY_CLASS_SHARE = 0.12  # a concept that does not suit the class: nothing may be guessed from the noun
_SHARED_SHARE = 0.2
_MODIFIED_SHARE = 0.13
_TERSE_SHARE, _WIDE_SHARE = 0.15, 0.1  # names that say less or more than a person does
_WIDE_LABEL_SHARE = 0.3  # "pet_name"
_GENERAL = frozenset("year date day level rate score number name type status size time count".split())
_KINDS, _WEIGHTS = ("category", "number", "year", "date", "flag", "label"), (40, 30, 8, 8, 7, 7)
_VAGUE = tuple("type class category kind status line series grade mode style tier family".split())
_MEASURES = ("level", "rate", "score", "points", "number", "width", "mark", "factor")


@dataclass
class Draft:
    """What is known while one database is drawn: words, style, how many words are invented, and the concepts
    that its tables have used.
    """

    rng: random.Random
    words: Vocabulary
    style: Style
    strange: float = 1.0
    used: list[Concept] = field(default_factory=list)


@dataclass
class Sheet:
    """A table in the making: its noun, its rows, its column names and the concept names that are taken."""

    noun: Noun
    rows: int
    short: str
    names: set[str] = field(default_factory=set)
    said: set[str] = field(default_factory=set)


def label_column(draft: Draft, sheet: Sheet) -> ColumnSpec:
    """The column that names a row; about half of them are called `name`, by itself or after the table."""
    rng = draft.rng
    concept = draft.words.suits["label", ""][0] if rng.random() < 0.5 else _concept("label", draft, sheet)
    return _column(concept, draft, sheet)


def free_column(draft: Draft, sheet: Sheet) -> ColumnSpec:
    """Any column but a key or a reference."""
    kind = draft.rng.choices(_KINDS, _WEIGHTS)[0]
    return _column(_concept(kind, draft, sheet), draft, sheet)


def _concept(kind: str, draft: Draft, sheet: Sheet) -> Concept:
    """A concept whose names the table does not use: listed, invented, or one that another table has used."""
    rng = draft.rng
    strange = kind if kind in ("category", "number") else ""
    shared = [c for c in draft.used if c.kind == kind] if rng.random() < _SHARED_SHARE else []
    fitting = draft.words.suits[kind, "" if rng.random() < _ANY_CLASS_SHARE else sheet.noun.kind]
    for _ in range(20):
        invented = strange and rng.random() < _INVENTED_SHARE * draft.strange
        concept = _invented(strange, draft) if invented else rng.choice(shared or fitting)
        if not sheet.said.intersection(concept.names):
            return concept
        shared = []
    return _invented(strange or "category", draft)


def _invented(kind: str, draft: Draft) -> Concept:
    """A concept that no one has heard of; categories may hide strange values behind a vague name ("type")."""
    rng = draft.rng
    own, vague, chance = invent(rng), rng.choice(_VAGUE), rng.random()
    if kind == "number":
        name = own if chance < 0.6 else f"{own} {rng.choice(_MEASURES)}"
        low = rng.choice((0, 1, 1, 5, 10, 100))
        return Concept("number", (name,), ("*",), low=low, high=low + rng.choice((9, 20, 50, 90, 400, 5000)))
    name = vague if chance < 0.35 else own if chance < 0.75 else f"{own} {vague}"
    wide = rng.random() < 0.2
    values = tuple(dict.fromkeys(f"{invent(rng)} {invent(rng)}" if wide else invent(rng) for _ in range(8)))
    return Concept("category", (name,), ("*",), values=values, extras=("the ~", f"~ {name.split()[-1]}"))


def _column(concept: Concept, draft: Draft, sheet: Sheet) -> ColumnSpec:
    rng = draft.rng
    draft.used.append(concept)
    sheet.said.update(concept.names)
    written, phrase, others = _wording(concept, draft, sheet.noun)
    if draft.style.prefix:
        written = f"{sheet.short} {written}"
    # A predicate that was made for other nouns ("director built by fiat") is kept now and then only.
    fits = "*" in concept.classes or sheet.noun.kind in concept.classes[:2]
    verb = rng.choice(concept.verbs) if concept.verbs and rng.random() < (0.75 if fits else 0.4) else ""
    null_share = rng.choice((0.1, 0.2)) if rng.random() < 0.12 else 0.0
    name = draft.style.column(written, rng, sheet.names)
    column = ColumnSpec(name, concept.kind, phrase, others, verb=verb, null_share=null_share)
    return _filled(column, concept, draft, sheet)


def _wording(concept: Concept, draft: Draft, noun: Noun) -> tuple[str, str, tuple[str, ...]]:
    """The words of the identifier, what a person says, and further ways to say it."""
    rng, names = draft.rng, concept.names
    written = names[0] if rng.random() < 0.7 else rng.choice(names[:3])
    if concept.kind == "flag":
        # "paid" is no noun, so a person asks for the "paid status".
        written = f"is {names[0]}" if rng.random() < 0.5 else written
        return written, f"{names[0]} {rng.choice(('status', 'status', 'flag'))}", ()
    if rng.random() < _MODIFIED_SHARE and " " not in written:
        modifier = invent(rng) if rng.random() < 0.3 else rng.choice(draft.words.lists["modifier"])
        written = f"{modifier} {written}"
        return written, written, ()
    phrase = written if rng.random() < 0.8 else rng.choice(names)
    wide = _WIDE_LABEL_SHARE if concept.kind == "label" else _WIDE_SHARE
    if concept.kind != "label" and rng.random() < _TERSE_SHARE:
        written = _terse(written, concept, rng)
    elif rng.random() < wide and " " not in written:
        written = f"{noun.one.split()[-1]} {written}"
    return written, phrase, tuple(name for name in names if name != phrase)[:3]


def _terse(words: str, concept: Concept, rng: random.Random) -> str:
    """A shorter name: "founded" for a founding year, "minutes" for a duration, "pages" for "number of pages",
    "country" for "home country".
    """
    if concept.unit and rng.random() < 0.4:
        return concept.unit.split()[-1]
    done = [verb.split()[0] for verb in concept.verbs if verb.endswith("{}")]
    if concept.kind in ("year", "date") and done and not done[0].endswith(("ing", "of", "from", "until")):
        return done[0]
    parts = words.split()
    if "of" in parts[1:-1]:
        return parts[-1] if parts[0] in _GENERAL else parts[0]
    return parts[0] if parts[-1] in _GENERAL else parts[-1]


def _filled(column: ColumnSpec, concept: Concept, draft: Draft, sheet: Sheet) -> ColumnSpec:
    rng = draft.rng
    if concept.kind == "label":
        maker = maker_for(concept.makers, sheet.noun.kind, rng)
        return replace(column, values=_label_values(maker, sheet.rows, rng))
    if concept.kind == "category":
        return replace(column, values=_category_values(concept, rng))
    if concept.kind == "flag":
        values = _flag_values(concept, rng)
        return replace(column, values=values, verb="" if values[0].spoken == "yes" else column.verb)
    if concept.kind == "number":
        return replace(column, **_number_bounds(concept, rng), **_adjectives(concept, rng))
    low = rng.randint(1900, 2012) if concept.kind == "year" else rng.randint(1995, 2020)
    high = low + rng.randint(6, 60 if concept.kind == "year" else 9)
    return replace(column, low=low, high=min(high, 2025), **_adjectives(concept, rng))


def _label_values(maker: str, count: int, rng: random.Random) -> tuple[Value, ...]:
    mode = random_mode(rng)
    if maker in ("code", "login") and mode == "short":
        mode = "words"  # cut off, their numbers could not be told apart
    texts = make_labels(maker, count, rng)
    return surfaced(texts, _possible(mode, texts), EXTRAS.get(maker, ()), rng)


def _possible(mode: str, texts: Sequence[str]) -> str:
    """The mode, or `short` in place of `separator` where too few texts have two words."""
    if mode != "separator" or 2 * sum(" " in text for text in texts) > len(texts):
        return mode
    return "words" if any(letter.isdigit() for letter in texts[0]) else "short"


def _category_values(concept: Concept, rng: random.Random) -> tuple[Value, ...]:
    mode = random_mode(rng)
    values = concept.values
    if mode == "separator":
        long = [text for text in values if " " in text]
        values = tuple(long) if len(long) >= 3 else values
    texts = rng.sample(values, min(len(values), rng.randint(3, 8)))
    texts = [invent(rng) if rng.random() < _INVENTED_VALUE_SHARE else text for text in texts]
    return surfaced(texts, _possible(mode, texts), concept.extras, rng)


_FLAGS = ((1, 0), ("Y", "N"), ("yes", "no"), ("T", "F"), ("Yes", "No"), ("true", "false"), ("TRUE", "FALSE"))


def _flag_values(concept: Concept, rng: random.Random) -> tuple[Value, ...]:
    stored = rng.choice(_FLAGS)
    spoken = concept.values if rng.random() < 0.6 else ("yes", "no")
    return tuple(Value(*pair) for pair in zip(stored, spoken, strict=True))


def _number_bounds(concept: Concept, rng: random.Random) -> dict[str, float]:
    low, high = concept.low, concept.high
    if high > low + 12 and rng.random() < 0.7:
        high = low + max(8, int((high - low) * rng.uniform(0.2, 1)))
    return {"low": low, "high": high, "decimals": concept.decimals, "unit": concept.unit}


def _adjectives(concept: Concept, rng: random.Random) -> dict[str, str]:
    if rng.random() < 0.15:
        return {}
    return {"most": concept.most, "least": concept.least, "more": concept.more, "less": concept.less}
