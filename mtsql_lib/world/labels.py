"""Names of single things for label columns: persons, titles, places, products, codes, invented words.

Left out: free text, and any sense in the names (`silver needle` may be a law firm).
"""

from __future__ import annotations

import random
from collections.abc import Callable

from mtsql_lib.world.words import invent, vocabulary

# What a stored label may carry in addition to what people say, by maker.
EXTRAS = {
    "person": ("dr. ~", "ms. ~", "~ jr.", "prof. ~", "~ (guest)"),
    "first": ("miss ~", "mr. ~"),
    "last": ("dr. ~", "mr. ~"),
    "title": ("the ~", "~ (new)", "~ part 2", "~ again"),
    "town": ("~ city", "~ village", "new ~", "port ~"),
    "product": ("~ 2000", "super ~", "~ classic"),
    "code": ("no. ~", "id ~"),
    "team": ("~ club", "fc ~"),
    "address": ("~ north", "the ~"),
    "invented": ("the ~", "~ co", "~ group"),
}

# How a thing of a class is named by its plain "name" column.
_OWN = {
    "person": ("person", "person", "first"),
    "animal": ("first", "first", "product"),
    "plant": ("product", "title"),
    "place": ("town", "town", "title"),
    "thing": ("product", "product", "code"),
    "vehicle": ("title", "code", "product"),
    "work": ("title", "title", "title"),
    "event": ("title", "title", "town"),
    "body": ("team", "title", "town"),
    "paper": ("code", "title", "code"),
    "food": ("product", "title"),
}


def maker_for(makers: tuple[str, ...], kind: str, rng: random.Random) -> str:
    """Which maker writes the labels of a column, for a table of the given class; one in five is invented."""
    if rng.random() < 0.2:
        return "invented"
    maker = rng.choice(makers)
    return rng.choice(_OWN[kind]) if maker == "own" else maker


def make_labels(maker: str, count: int, rng: random.Random) -> list[str]:
    """`count` different lower-case names."""
    make = _MAKERS[maker](rng)
    found: dict[str, None] = {}
    tries = 0
    while len(found) < count:
        tries += 1
        # Short lists (team names, streets) run dry; a number in the name then sets them apart.
        found.setdefault(make() if tries < 4 * count else f"{make()} {tries % 90 + 2}")
    return list(found)


Maker = Callable[[random.Random], Callable[[], str]]


def _listed(name: str) -> Maker:
    return lambda rng: lambda: rng.choice(vocabulary().lists[name])


def _person(rng: random.Random) -> Callable[[], str]:
    lists = vocabulary().lists
    first, last, strange = lists["first"], lists["last"], rng.random() < 0.5
    if not strange:
        return lambda: f"{rng.choice(first)} {rng.choice(last)}"
    return lambda: f"{rng.choice(first)} {invent(rng)}"


def _title(rng: random.Random) -> Callable[[], str]:
    lists = vocabulary().lists
    adjectives, nouns = lists["adjective"], lists["noun"]
    strange = rng.random() < 0.3

    def make() -> str:
        left, right = rng.choice(adjectives), invent(rng) if strange else rng.choice(nouns)
        shape = rng.random()
        if shape < 0.55:
            return f"{left} {right}"
        if shape < 0.75:
            return right if shape < 0.65 else f"the {right}"
        other = rng.choice(nouns)
        return (
            f"{right} and {other}"
            if shape < 0.85
            else f"the {left} {right}"
            if shape < 0.93
            else f"{right} of {other}"
        )

    return make


def _town(rng: random.Random) -> Callable[[], str]:
    lists = vocabulary().lists
    starts, ends = lists["town"], lists["townend"]
    cities = next(c.values for c in vocabulary().suits["category", ""] if c.names[0] == "city")
    ways = (lambda: rng.choice(cities), lambda: rng.choice(starts) + rng.choice(ends), lambda: invent(rng))
    return rng.choices(ways, (3, 4, 3))[0]


def _product(rng: random.Random) -> Callable[[], str]:
    lists = vocabulary().lists
    firsts = lists["prefix"] if rng.random() < 0.5 else lists["adjective"]
    strange = rng.random() < 0.35
    return lambda: f"{invent(rng) if strange else rng.choice(firsts)} {rng.choice(lists['product'])}"


def _team(rng: random.Random) -> Callable[[], str]:
    town, teams = _town(rng), vocabulary().lists["team"]
    return lambda: f"{town()} {rng.choice(teams)}"


def _address(rng: random.Random) -> Callable[[], str]:
    streets = vocabulary().lists["street"]
    return lambda: f"{rng.randint(1, 99)} {rng.choice(streets)}"


def _login(rng: random.Random) -> Callable[[], str]:
    first = vocabulary().lists["first"]
    return lambda: f"{rng.choice(first)}{rng.randint(1, 99)}"


def _code(rng: random.Random) -> Callable[[], str]:
    letters, mark = "abcdefghklmnprstvwx", rng.choice(("-", "", " ", "-"))
    start = "".join(rng.choice(letters) for _ in range(rng.choice((1, 2, 2, 3))))
    high = rng.choice((99, 999))
    if rng.random() < 0.6:
        return lambda: f"{start}{mark}{rng.randint(1, high)}"
    return lambda: f"{rng.choice(letters)}{rng.choice(letters)}{mark}{rng.randint(1, high)}"


_MAKERS: dict[str, Maker] = {
    "person": _person,
    "title": _title,
    "town": _town,
    "product": _product,
    "team": _team,
    "address": _address,
    "login": _login,
    "code": _code,
    "first": _listed("first"),
    "last": _listed("last"),
    "invented": lambda rng: lambda: invent(rng),
}
