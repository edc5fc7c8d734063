"""How a person of the generated world puts things: surface forms, nouns, column phrases, plurals.

The forms live in `language/*.toml`. Development dialogues use forms that training never shows in one of four
choices; where a column has three phrases or more, the last is theirs alone too.
"""

from __future__ import annotations

import random
import tomllib
from functools import lru_cache
from importlib import resources

from mtsql_lib.world.spec import ColumnSpec

_DEV_SHARE = 0.25
# low, as people name the columns that they mean: in SParC, all of them in two of three questions
_BRIEF_SHARE = 0.4
_USUAL_SHARE = 0.75
_LEADS = frozenset("ok so fine now sorry no wait oh oops hm and actually correction: my".split())


@lru_cache(maxsize=1)
def _language() -> tuple[dict[str, dict], dict[str, dict]]:
    folder = resources.files("mtsql_lib.world") / "language"
    read = {
        name: tomllib.loads((folder / f"{name}.toml").read_text())
        for name in ("openings", "followups", "manners")
    }
    return read["openings"] | read["followups"], read["manners"]


class Voice:
    """One speaker: a style ("steps" or "talk"), a split ("train" or "dev") and a source of chance."""

    def __init__(self, rng: random.Random, style: str, split: str):
        self.rng, self.style, self.split = rng, style, split
        self.forms, self.manners = _language()

    def say(self, intent: str, **slots: str) -> str:
        """An utterance of this intent; "talk" is lower-case at the start and careless at the end."""
        forms = self.forms[intent]
        pool = forms["dev"] if self.split == "dev" and self.rng.random() < _DEV_SHARE else None
        text = self.rng.choice(pool or forms["any"] + forms.get(self.style, [])).format(**slots)
        text = " ".join(text.split())
        if self.style == "steps":
            return text
        if text[-1] == "." and self.rng.random() < 0.7 or text[-1] == "?" and self.rng.random() < 0.2:
            text = text[:-1]
        return text if text.startswith("I ") else text[0].lower() + text[1:]

    def dress(self, text: str, place: str) -> str:
        """Small talk around a request ("talk" only); place is "first", "next" or "topic"."""
        if self.style == "steps":
            return text
        share = {"first": 0.25, "next": 0.3, "topic": 0.6}[place]
        if self.rng.random() < share and text.split()[0].strip(",") not in _LEADS:
            text = self._manner(place).lower() + text
        elif self.rng.random() < 0.08:
            text = (text if text[-1] in ".?!" else text + ".") + self._manner("tail").lower()
        return text

    def _manner(self, place: str) -> str:
        forms = self.manners[place]
        return self.rng.choice(
            forms["dev" if self.split == "dev" and self.rng.random() < _DEV_SHARE else "train"]
        )

    def choose(self, forms: list, dev: list):
        """One of several ways to say a thing; `dev` ways are heard in development dialogues only."""
        return self.rng.choice(dev if self.split == "dev" and self.rng.random() < _DEV_SHARE else forms)

    def brief(self) -> bool:
        """Whether a predicate or an adjective stands for a column's name: "built in 1990", "the oldest"."""
        return self.rng.random() < _BRIEF_SHARE

    def phrase(self, column: ColumnSpec) -> str:
        """One of the ways to say a column, most often the usual one."""
        known = (column.phrase, *column.phrases)
        if len(known) >= 3 and self.split != "dev":
            known = known[:-1]
        return known[0] if self.rng.random() < _USUAL_SHARE else self.rng.choice(known)

    def phrases(self, column: ColumnSpec) -> str:
        """A column in the plural."""
        phrase = self.phrase(column)
        return column.phrase_many if column.phrase_many and phrase == column.phrase else plural(phrase)


def plural(phrase: str) -> str:
    """The plural of a noun phrase by rule; its head stands before the first preposition."""
    words = phrase.split()
    head = head_position(words)
    words[head] = _plural_word(words[head])
    return " ".join(words)


def head_position(words: list[str]) -> int:
    """Where the head stands: before a preposition ("price per unit") or a participle ("days kept")."""
    end = next((n for n, word in enumerate(words) if n and word in _PREPOSITIONS), len(words)) - 1
    return end - 1 if end and (words[end].endswith("ed") or words[end] in _PARTICIPLES) else end


_PREPOSITIONS = frozenset("of in at on per to for by from above until with".split())
_PARTICIPLES = frozenset(
    "available sold left kept held run made won lost flown driven spent sent read built born paid".split()
)
_MASS = frozenset("money lateness experience pay stock weather lighting heating insurance equipment".split())
_IRREGULAR = {"person": "people", "child": "children", "man": "men", "woman": "women", "status": "statuses"}


def _plural_word(word: str) -> str:
    if word in _MASS:
        return word
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    if word.endswith(("ss", "us", "x", "ch", "sh")):
        return word + "es"
    if word.endswith("s"):
        return word
    return word + "s"


def listed(parts: list[str]) -> str:
    """Several things in a row: "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def an(noun: str) -> str:
    """A noun with its indefinite article."""
    return f"an {noun}" if noun[0].lower() in "aeio" else f"a {noun}"


def verb_slots(verb: str) -> dict[str, str]:
    """The forms of a bridge table's verb that questions need: "does it serve on", "are they kept at"."""
    passive, _, rest = verb.partition(" ")
    many = finite_plural(verb)
    if passive == "is":
        return {"does": "is", "do": "are", "base": rest, "links": many, "links3": verb}
    return {"does": "does", "do": "do", "base": many, "links": many, "links3": verb}


def finite_plural(verb: str) -> str:
    """A bridge table's verb for several subjects: "serve on" for "serves on"."""
    first, _, rest = verb.partition(" ")
    known = {"is": "are", "has": "have", "was": "were", "does": "do", "goes": "go"}
    if first in known:
        stem = known[first]
    elif first.endswith("ies") and len(first) > 4:
        stem = first[:-3] + "y"
    elif first.endswith(("ches", "shes", "sses", "xes", "zzes")):
        stem = first[:-2]
    else:
        stem = first[:-1] if first.endswith("s") else first
    return f"{stem} {rest}".strip()
