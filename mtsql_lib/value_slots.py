"""Gold values in the slots of a prediction: the official script's `--plug_value`, for models that predict no
values.

Every literal and number of the prediction is a slot, and every way to fill all slots with gold's literals and
numbers is a query of its own. That is lenient (a wrong value can be repaired, LIMIT counts too) and
exponential, so the number of fillings is capped, which the official script's is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice, product

from mtsql_lib.sql_text import first_statement, lex

_MOST_FILLINGS = 100_000
_SLOT = "VALUERARE"
_FLOAT = re.compile(r"[-+]?\d*\.\d+")
_INTEGER = re.compile(r"[^tT]\d+")
_ALIAS = re.compile(r"[Tt]\d+\.")


def fillings(gold: str, predicted: str) -> Iterator[str]:
    """The predicted query with each combination of gold's values in its slots, lower-cased outside the
    values.

    At most 100,000 are made. The queries are as prepared for running, DISTINCT already deleted.
    """
    values = sorted(set(_slots(gold)[1]))
    words = _slots(predicted)[0]
    places = [n for n, word in enumerate(words) if word == _SLOT.lower()]
    for chosen in islice(product(values, repeat=len(places)), _MOST_FILLINGS):
        for place, value in zip(places, chosen, strict=True):
            words[place] = value
        yield " ".join(words)


def _slots(sql: str) -> tuple[list[str], list[str]]:
    """The words of a query with its values replaced, and the values. Numbers count where spaces surround
    them.
    """
    sql = sql.strip().replace(";", "").replace("\t", "")
    sql = " ".join(piece for kind, piece in lex(first_statement(sql)) if kind != "space" or piece in "\r\n")
    values = [piece for kind, piece in lex(sql) if kind == "literal"]
    for value in values:
        sql = sql.replace(value, _SLOT)
    words = sql.split()
    for pattern in (_FLOAT, _INTEGER):
        numbers = {number.strip() for number in pattern.findall(" ".join(words))}
        values += [word for word in words if word in numbers]
        words = [_SLOT if word in numbers else word for word in words]
    spaced = (word.replace(".", " . ").split() if _ALIAS.search(word) else [word] for word in words)
    return [word.lower() for parts in spaced for word in parts], values
