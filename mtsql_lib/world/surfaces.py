"""What the database stores against what a person types: same, other case, separator, words, or abbreviated.

Three quarters of the pools are stored as spoken; of the others half differ in letter case, the rest in the
separator (`full_time`), in a word more or less (`Delhi City`), or by abbreviation (`CANC`). A person who
sees the stored values of a pool can always tell which one is meant.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from mtsql_lib.world.spec import Value

MODES = ("same", "case", "separator", "words", "short")
_SHARES = (74, 13.5, 7, 4, 1.5)  # separators need two words, so more are drawn than come out

_CODE = re.compile(r"[a-z]{1,3}[- ]?[0-9]+")

Pair = tuple[list[str], list[str]]


def random_mode(rng: random.Random) -> str:
    """One of `MODES` in the shares above."""
    return rng.choices(MODES, _SHARES)[0]


def surfaced(texts: Sequence[str], mode: str, extras: Sequence[str], rng: random.Random) -> tuple[Value, ...]:
    """Lower-case texts as values whose stored form differs from the spoken one in the given mode.

    `extras` are patterns with `~` for mode `words` ("~ city"). A pool that a mode would leave mostly
    unchanged, or ambiguous, changes in case instead.
    """
    stored, spoken = _MAKERS[mode](list(texts), list(extras), rng)
    if mode != "same" and not (_mostly_differ(stored, spoken) and _distinct(stored) and _distinct(spoken)):
        stored, spoken = _case(list(texts), [], rng)
    return tuple(Value(*pair) for pair in zip(stored, spoken, strict=True))


def _mostly_differ(stored: list[str], spoken: list[str]) -> bool:
    return 2 * sum(left != right for left, right in zip(stored, spoken, strict=True)) > len(stored)


def _distinct(texts: list[str]) -> bool:
    return len({text.lower() for text in texts}) == len(texts)


def _titled(text: str) -> str:
    """Title case; a code is upper case instead ("ab-12" -> "AB-12")."""
    return text.upper() if _CODE.fullmatch(text) else text.title()


def _same(texts: list[str], extras: list[str], rng: random.Random) -> Pair:
    change = rng.choices((str.lower, _titled, str.upper), (66, 28, 6))[0]
    both = [change(text) for text in texts]
    return both, both


def _case(texts: list[str], extras: list[str], rng: random.Random) -> Pair:
    if rng.random() < 0.1:
        return texts, [text.title() for text in texts]
    change = rng.choices((_titled, str.upper, str.capitalize), (50, 40, 10))[0]
    return [change(text) for text in texts], texts


def _separator(texts: list[str], extras: list[str], rng: random.Random) -> Pair:
    mark = rng.choices(("_", "-", ""), (45, 40, 15))[0]
    change = rng.choices((str.lower, _titled, str.upper), (60, 20, 20))[0]
    return [change(text).replace(" ", mark) for text in texts], texts


def _words(texts: list[str], extras: list[str], rng: random.Random) -> Pair:
    extra = rng.choice(extras or ["the ~", "~ type"])
    longer = [extra.replace("~", text) if not _holds(text, extra) else text for text in texts]
    change = rng.choices((str.lower, _titled, str.upper), (35, 55, 10))[0]
    if rng.random() < 0.3:
        return [change(text) for text in texts], longer
    return [change(text) for text in longer], texts


def _holds(text: str, extra: str) -> bool:
    """True if the text already has the word that would be added ("new york city" + "~ city")."""
    return bool(set(text.split()) & set(extra.split()))


def _short(texts: list[str], extras: list[str], rng: random.Random) -> Pair:
    schemes = [
        lambda text: text[0],
        lambda text: text.replace(" ", "")[:3],
        lambda text: text.replace(" ", "")[:4],
        lambda text: "".join(word[0] for word in text.split()) if " " in text else text[:2],
    ]
    rng.shuffle(schemes)
    change = rng.choices((str.upper, str.capitalize, str.lower), (75, 15, 10))[0]
    for scheme in schemes:
        stored = [change(scheme(text)) for text in texts]
        if len(set(stored)) == len(stored):
            return stored, texts
    return [change(_shortest(text, texts)) for text in texts], texts


def _shortest(text: str, texts: list[str]) -> str:
    """The shortest beginning of three letters or more that no other text shares."""
    for size in range(3, len(text)):
        if not any(other.startswith(text[:size]) for other in texts if other != text):
            return text[:size].strip()
    return text


_MAKERS = {"same": _same, "case": _case, "separator": _separator, "words": _words, "short": _short}
