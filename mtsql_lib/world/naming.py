"""How a database spells its identifiers: `release_year`, `Release_Year`, `ReleaseYear` or `rel_yr`.

Left out: quoted identifiers (spaces, hyphens); Spider's evaluator cannot read them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from mtsql_lib.world.spec_rules import _is_name as is_identifier

_KNOWN = dict(
    pair.split("=")
    for pair in """
    account=acct address=addr amount=amt average=avrg balance=bal building=bldg category=cat code=cd
    company=comp country=ctry customer=cust date=dt department=dept description=descr employee=emp
    maximum=maxi minimum=mini manager=mgr month=mon name=nm number=num price=prc product=prod
    quantity=qty reference=refer region=reg status=stat street=str student=stu telephone=tel
    temperature=temper total=tot type=typ weight=wgt year=yr
    """.split()
)


@dataclass(frozen=True)
class Style:
    """The spelling habits of one database.

    `words`: snake, mixed (`Home_City`), camel (`HomeCity`), inner (`homeCity`), flat (`homecity`) or upper
    (`HOME_CITY`); `tables` the same for table names. `key`: id, noun_id, id_noun, noun_no or noun_key.
    `prefix` puts a short noun before column names (`emp_name`).
    """

    words: str
    tables: str
    short: bool
    plural: bool
    key: str
    head: str = ""
    tail: str = ""
    prefix: bool = False
    ref_suffix: bool = True
    _shortened: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    def column(self, words: str, rng: random.Random, taken: set[str]) -> str:
        """A free, legal column name for a phrase; it is added to `taken` (lower case)."""
        return self._name(words.split(), self.words, rng, taken, "code")

    def table(self, words: str, rng: random.Random, taken: set[str]) -> str:
        """A free, legal table name for a noun."""
        parts = [self.head, *words.split(), self.tail]
        return self._name([part for part in parts if part], self.tables, rng, taken, "info")

    def shorten(self, word: str, rng: random.Random) -> str:
        """An abbreviation, the same for a word everywhere in the database ("department" -> "dept")."""
        if word not in self._shortened:
            self._shortened[word] = _KNOWN.get(word) or _clipped(word, rng)
        return self._shortened[word]

    def _name(self, words: list[str], join: str, rng: random.Random, taken: set[str], rescue: str) -> str:
        if self.short:
            words = [self.shorten(word, rng) for word in words]
        name = joined(words, join)
        while not is_identifier(name) or name.lower() in taken:
            words = [*words, rescue]
            name, rescue = joined(words, join), rng.choice("abcdexyz") + rescue[-2:]
        taken.add(name.lower())
        return name


def random_style(rng: random.Random, heads: tuple[str, ...], tails: tuple[str, ...]) -> Style:
    """Habits drawn for one database; `heads` and `tails` are words that some databases add to table names."""
    words = rng.choices(("snake", "mixed", "camel", "inner", "flat", "upper"), (42, 22, 15, 12, 4, 5))[0]
    tables = words if rng.random() < 0.7 else rng.choice(("snake", "mixed", "camel"))
    return Style(
        words=words,
        tables=tables,
        short=rng.random() < 0.1,
        plural=rng.random() < 0.4,
        key=rng.choices(("noun_id", "id", "id_noun", "noun_no", "noun_key"), (58, 26, 4, 7, 5))[0],
        head=rng.choice(heads) if rng.random() < 0.06 else "",
        tail=rng.choice(tails) if rng.random() < 0.06 else "",
        prefix=rng.random() < 0.03,
        ref_suffix=rng.random() < 0.88,
    )


def joined(words: list[str], join: str) -> str:
    """Words as one identifier: `joined(["home", "city"], "camel")` is `HomeCity`."""
    if join == "snake":
        return "_".join(words)
    if join == "mixed":
        return "_".join(word.capitalize() for word in words)
    if join == "camel":
        return "".join(word.capitalize() for word in words)
    if join == "inner":
        return words[0] + "".join(word.capitalize() for word in words[1:])
    return "".join(words) if join == "flat" else "_".join(words).upper()


def _clipped(word: str, rng: random.Random) -> str:
    if len(word) <= 4:
        return word
    if rng.random() < 0.6:
        return word[: rng.choice((3, 4))]
    return (word[0] + "".join(letter for letter in word[1:] if letter not in "aeiou"))[:4]
