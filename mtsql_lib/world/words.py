"""The vocabulary of the generated world: nouns, column concepts and values with what people say about them.

The words stand in plain text files under `data/world/`, each with its layout in its first lines. A noun has
a class (person, place, thing ...); column concepts and links between tables name the classes that they suit
(`*` = any). Invented words come from `invent`. Left out: topics. Nouns know nothing of each other, so
databases are drawn, not modelled on anything.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mtsql_lib.errors import KitError

FOLDER = Path(__file__).resolve().parents[2] / "data" / "world"


@dataclass(frozen=True)
class Noun:
    """What a table is about; `tables` are table names unlike the noun ("staff" for employee)."""

    one: str
    many: str
    kind: str
    tables: tuple[str, ...] = ()


@dataclass(frozen=True)
class Concept:
    """A column as a person knows it: `names[0]` is the usual name, the others are further ways to say it.

    Categories have `values` and `extras` (patterns with `~`), flags two `values` (yes, no), labels `makers`;
    bounds, unit and comparing words belong to numbers and times. `verbs` were made for the first classes.
    """

    kind: str
    names: tuple[str, ...]
    classes: tuple[str, ...]
    verbs: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    makers: tuple[str, ...] = ()
    low: float = 0
    high: float = 0
    decimals: int = 0
    unit: str = ""
    most: str = ""
    least: str = ""
    more: str = ""
    less: str = ""


@dataclass(frozen=True)
class Link:
    """A reference: the role of the other ("owner", or "" for its noun) and a predicate ("owned by {}")."""

    role: str
    verb: str


@dataclass(frozen=True)
class Bridge:
    """What a bridge table says of two nouns, and `names` for its rows ("membership")."""

    verb: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Vocabulary:
    """All lists, read once; `suits` and `links` are indexed by class."""

    nouns: tuple[Noun, ...]
    concepts: tuple[Concept, ...]
    lists: dict[str, tuple[str, ...]]
    suits: dict[tuple[str, str], tuple[Concept, ...]]
    links: dict[tuple[str, str], tuple[Link, ...]]
    bridges: dict[tuple[str, str], tuple[Bridge, ...]]


@lru_cache(maxsize=1)
def vocabulary() -> Vocabulary:
    """Read `data/world/`; KitError names the file and the line that cannot be read."""
    nouns = tuple(_nouns())
    concepts = (*_categories(), *_numbers(), *_times(), *_flags(), *_labels())
    kinds = sorted({noun.kind for noun in nouns})
    suits = {
        (kind, noun): tuple(
            c for c in concepts if c.kind == kind and (noun in c.classes or "*" in c.classes or not noun)
        )
        for kind in ("category", "number", "year", "date", "flag", "label")
        for noun in ("", *kinds)
    }
    links, bridges = _links(kinds)
    return Vocabulary(nouns, concepts, _lists(), suits, links, bridges)


def plural(word: str) -> str:
    """The regular plural of the last word of a noun phrase."""
    if re.search(r"(s|x|z|ch|sh)$", word):
        return word + "es"
    return word[:-1] + "ies" if re.search(r"[^aeiou]y$", word) else word + "s"


_STARTS = "b bl br c ch cl cr d dr f fl fr g gl gr h j k kl kr l m n p pl pr".split()
_STARTS += "qu r s sh sk sl sn sp st t th tr v w z".split()
_MIDDLES = "a e i o u a e i o ai ea oo ou".split()
_ENDS = ["", "", "", "l", "m", "n", "r", "s", "t", "x", "ck", "nd", "rk", "lt", "sk", "mp"]


def invent(rng: random.Random) -> str:
    """A word that no one has seen: two or three syllables ("brondal"), or the beginning of a listed word and
    the end of another ("prescipline", "roomination"), so that the tokenizer's pieces of real words are met as
    pieces.
    """
    if rng.random() < 0.6:
        left, right = (rng.choice(_stock()) for _ in range(2))
        word = left[: rng.randint(2, min(len(left), 8))] + right[-rng.randint(2, min(len(right), 8)) :]
        return invent(rng) if "value" in word else word  # no name may hold it (`spec_rules.py`)
    count = 2 if rng.random() < 0.75 else 3
    pick = rng.choice
    return "".join(pick(_STARTS) + pick(_MIDDLES) for _ in range(count)) + pick(_ENDS)


@lru_cache(maxsize=1)
def _stock() -> tuple[str, ...]:
    """The words of all lists but the shortest."""
    known = vocabulary()
    texts = [noun.one for noun in known.nouns]
    texts += [text for concept in known.concepts for text in (*concept.names, *concept.values)]
    texts += [text for words in known.lists.values() for text in words]
    return tuple(sorted({word for text in texts for word in re.findall("[a-z]{4,}", text.lower())}))


def _nouns() -> list[Noun]:
    found = []
    for section, words in _sections("nouns"):
        for word in words:
            shape, *aliases = (part.strip() for part in word.split("~"))
            one, _, many = shape.partition("=")
            tables = tuple(alias.strip() for text in aliases for alias in text.split("/"))
            found.append(Noun(one, many or plural(one), section, tables))
    return found


def _categories() -> list[Concept]:
    found = []
    header = re.compile(r"\[(.+?)\]([^|]*)\|([^|]*)\|([^|]*)")
    lines = _lines("categories")
    for head, content in zip(lines[::2], lines[1::2], strict=True):
        parts = header.fullmatch(head)
        if not parts:
            raise KitError(f"categories.txt: {head!r} must be [names] classes | verbs | extras")
        names, classes, verbs, extras = parts.groups()
        found.append(
            Concept(
                "category",
                _split(names, ";"),
                tuple(classes.split()),
                _split(verbs, ";"),
                _split(content),
                _split(extras, ";"),
            )
        )
    return found


def _numbers() -> list[Concept]:
    found = []
    for fields in _records("numbers", 7):
        names, classes, bounds, unit, most, more, verb = fields
        found_bounds = re.fullmatch(r"(\d+)\.\.(\d+)(?:/(\d))?", bounds)
        if not found_bounds:
            raise KitError(
                f"numbers.txt: {names!r} has bounds {bounds!r}; write low..high or low..high/decimals"
            )
        low, high, decimals = (int(text or 0) for text in found_bounds.groups())
        high_word, low_word = _pair(most)
        more_word, less_word = _pair(more)
        found.append(
            Concept(
                "number",
                _split(names, ";"),
                tuple(classes.split()),
                _split(verb, ";"),
                low=low,
                high=high,
                decimals=decimals,
                unit=unit,
                most=high_word,
                least=low_word,
                more=more_word,
                less=less_word,
            )
        )
    return found


def _times() -> list[Concept]:
    found = []
    for kind, names, classes, verb, adjectives in _records("times", 5):
        most, least = _pair(adjectives or "latest, earliest")
        found.append(
            Concept(
                kind,
                _split(names, ";"),
                tuple(classes.split()),
                _split(verb, ";"),
                most=most,
                least=least,
                more="after",
                less="before",
            )
        )
    return found


def _flags() -> list[Concept]:
    return [
        Concept(
            "flag",
            _split(names, ";"),
            tuple(classes.split()),
            ("marked as {}", "listed as {}"),
            _split(spoken),
        )
        for names, classes, spoken in _records("flags", 3)
    ]


def _labels() -> list[Concept]:
    return [
        Concept("label", _split(names, ";"), tuple(classes.split()), makers=tuple(makers.split()))
        for names, classes, makers in _records("labels", 3)
    ]


def _lists() -> dict[str, tuple[str, ...]]:
    return {section: tuple(dict.fromkeys(words)) for section, words in _sections("names")}


def _links(kinds: list[str]) -> tuple[dict, dict]:
    records = _records("links", 5)
    pairs = [(left, right) for left in kinds for right in kinds]
    links, bridges = {}, {}
    for left, right in pairs:
        fits = [r for r in records if r[2] in (right, "*") and (left in r[1].split() or r[1] == "*")]
        links[left, right] = tuple(Link(r[3], r[4]) for r in fits if r[0] == "ref")
        bridges[left, right] = tuple(Bridge(r[3], _split(r[4])) for r in fits if r[0] == "bridge")
    return links, bridges


def _lines(name: str) -> list[str]:
    path = FOLDER / f"{name}.txt"
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise KitError(
            f"{path}: the word list cannot be read ({error}); restore it from the repository"
        ) from error
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _sections(name: str) -> list[tuple[str, tuple[str, ...]]]:
    found: dict[str, tuple[str, ...]] = {}
    section = ""
    for line in _lines(name):
        if line.startswith("["):
            section = line.strip("[]")
        else:
            found[section] = found.get(section, ()) + _split(line)
    return list(found.items())


def _records(name: str, width: int) -> list[list[str]]:
    found = []
    for line in _lines(name):
        fields = [field.strip() for field in line.split("|")]
        if len(fields) > width:
            raise KitError(f"{name}.txt: {line!r} has more than {width} fields")
        found.append(fields + [""] * (width - len(fields)))
    return found


def _split(text: str, mark: str = ",") -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(mark) if part.strip())


def _pair(text: str) -> tuple[str, str]:
    first, _, second = text.partition(",")
    return first.strip(), second.strip()
