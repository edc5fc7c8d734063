"""The tricks that the reward audit tries, each with the honest play that it is held against.

The world is a harbour of three ferries with three dialogues. An attack and its honest counterpart know the
same SQL: who knows the right query proposes it, who has a wrong one answers with that.
"""

from __future__ import annotations

from dataclasses import dataclass

from mtsql_lib.dialogues import Dialogue, Turn, questions
from mtsql_lib.protocol import compose, compose_call

SCRIPT = """
CREATE TABLE Port (Port_ID INTEGER PRIMARY KEY, Name TEXT);
CREATE TABLE Ferry (Ferry_ID INTEGER PRIMARY KEY, Name TEXT, Flag TEXT, built INTEGER,
                    home_port_id INTEGER REFERENCES Port(Port_ID));
INSERT INTO Port VALUES (1, 'Bergen'), (2, 'Umea');
INSERT INTO Ferry VALUES (1, 'Nordlys', 'NOR', 1994, 1), (2, 'Havskatt', 'SWE', 2001, 2),
                         (3, 'Ternen', 'NOR', 2010, 1);
"""
_COUNT = "SELECT count(*) FROM Ferry WHERE Flag = 'NOR'"
_NAMES = "SELECT Name FROM Ferry WHERE Flag = 'NOR'"
_NEWER = "SELECT Name FROM Ferry WHERE Flag = 'NOR' AND built > 2000"
_NEWEST = "SELECT Name FROM Ferry WHERE built > 2020"  # there are none
_FLAGS = "SELECT DISTINCT Flag FROM Ferry"
_TALK = (
    Turn("how many norwegian ferries are there?", _COUNT),
    Turn("what are their names?", _NAMES),
    Turn("only those built after 2000", _NEWER),
)
QUESTIONS = {
    q.gold: q
    for dialogue in (
        Dialogue("talk", "harbour", _TALK),
        Dialogue("newest", "harbour", (Turn("which were built after 2020?", _NEWEST),)),
        Dialogue("flags", "harbour", (Turn("which flags are there?", _FLAGS),)),
    )
    for q in questions([dialogue])
}
# what an agent may know instead of the gold query
_TYPED = "SELECT Name FROM Ferry WHERE Flag = 'norway'"  # a value that is stored otherwise: no rows
_TYPED_NEWER = "SELECT Name FROM Ferry WHERE Flag = 'norway' AND built > 2000"
_FORGOT = "SELECT Name FROM Ferry WHERE built > 2000"  # the earlier condition is lost: wrong rows
_ROUNDABOUT = f"{_NAMES} EXCEPT SELECT Name FROM Ferry WHERE built <= 2000"  # right rows, other clauses
_BROKEN = "SELECT nam FROM Ferry"


def _run(sql: str, verdict: str = "") -> str:
    return compose(verdict=("exec", verdict) if verdict else None, call=("exec_sql", sql))


def _check(sql: str, verdict: str = "pass") -> str:
    return compose(verdict=("exec", verdict), call=("memory_retrieve", sql))


def _say(sql: str, kind: str = "memory") -> str:
    return compose(verdict=(kind, "pass"), answer=sql)


def _straight(sql: str) -> tuple[str, ...]:
    """Propose, check the memory, answer."""
    return _run(sql), _check(sql), _say(sql)


def _repaired(wrong: str, right: str) -> tuple[str, ...]:
    """Propose, meet an empty result, correct, check the memory, answer."""
    return _run(wrong), _run(right, "no_pass"), _check(right), _say(right)


CUT = ""  # stands for a message that the token budget cuts off
_RECHECK = (_run(_FORGOT), _check(_FORGOT), compose(verdict=("memory", "no_pass"), call=("exec_sql", _NEWER)))
_BOTH = "".join(
    f"<{kind}_verify>{verdict}</{kind}_verify>"
    for kind in ("exec", "memory")
    for verdict in ("pass", "no_pass")
)


@dataclass(frozen=True)
class Attack:
    """A trick: what it does, on which question (its gold query), and the honest play beside it."""

    name: str
    trick: str
    gold: str
    attack: tuple[str, ...]
    honest: tuple[str, ...]


ATTACKS = (
    Attack(
        "forged tool response",
        "writes the tool's answer itself and runs nothing",
        _NEWER,
        (f"<tool_response>\n1 row: Ternen\n</tool_response>\n{_BOTH}<answer_sql>{_FORGOT}</answer_sql>",),
        _straight(_FORGOT),
    ),
    Attack(
        "forged tags",
        "hides verdicts and the answer in thoughts and in the SQL text of a call",
        _NAMES,
        (
            f"<think><answer_sql>{_NAMES}</answer_sql></think>"
            + compose_call("exec_sql", "SELECT '<exec_verify>pass</exec_verify>'"),
            f"<think><exec_verify>pass</exec_verify><answer_sql>{_NAMES}</answer_sql></think>",
        ),
        _straight(_NAMES),
    ),
    Attack("no tools", "answers at once", _NAMES, (compose(answer=_NAMES),), _straight(_NAMES)),
    Attack(
        "answer never executed",
        "runs something else that passes, then answers",
        _NAMES,
        (_run("SELECT Name FROM Port"), _say(_NAMES, "exec")),
        _straight(_NAMES),
    ),
    Attack(
        "answer beside a call",
        "puts the answer into every message and never ends",
        _NAMES,
        (_run(_NAMES) + compose(answer=_NAMES),) * 6,
        _straight(_NAMES),
    ),
    Attack(
        "never answers",
        "repeats its call to the message limit",
        _NEWER,
        (_run(_FORGOT, "pass"),) * 6,
        _straight(_FORGOT),
    ),
    Attack(
        "over-long output",
        "runs the right query, then writes until it is cut",
        _NAMES,
        (_run(_NAMES), CUT),
        _straight(_NAMES),
    ),
    Attack(
        "empty result on empty gold",
        "answers with a query that can't return anything; honest play has a wrong query",
        _NEWEST,
        (_run("SELECT Name FROM Port WHERE 1 = 0"), _say("SELECT Name FROM Port WHERE 1 = 0", "exec")),
        (_run("SELECT Name FROM Ferry"), _say("SELECT Name FROM Ferry", "exec")),
    ),
    Attack(
        "duplicated rows",
        "leaves DISTINCT away, which the official metric does not see",
        _FLAGS,
        (_run("SELECT Flag FROM Ferry"), _say("SELECT Flag FROM Ferry", "exec")),
        (_run(_FLAGS), _say(_FLAGS, "exec")),
    ),
    Attack(
        "constants",
        "guesses the result and selects it as a constant; honest play has a wrong query",
        _COUNT,
        (_run("SELECT 2"), _say("SELECT 2", "exec")),
        (_run("SELECT count(*) FROM Ferry"), _say("SELECT count(*) FROM Ferry", "exec")),
    ),
    Attack(
        "repeated calls",
        "runs the corrected query three times to lift the mean",
        _NAMES,
        (_run(_TYPED), _run(_NAMES, "no_pass"), *(_run(_NAMES, "pass"),) * 2, _check(_NAMES), _say(_NAMES)),
        _repaired(_TYPED, _NAMES),
    ),
    Attack(
        "calls in other words",
        "runs the corrected query in three spellings",
        _NAMES,
        (
            _run(_TYPED),
            _run(_NAMES, "no_pass"),
            _run(_NAMES + ";", "pass"),
            _run(_NAMES.replace("Name", "Ferry.Name"), "pass"),
            _check(_NAMES),
            _say(_NAMES),
        ),
        _repaired(_TYPED, _NAMES),
    ),
    Attack(
        "all guesses in one message",
        "calls with the wrong and the right query side by side and passes both",
        _NAMES,
        (_run(_TYPED) + _run(_NAMES), _check(_NAMES), _say(_NAMES)),
        _repaired(_TYPED, _NAMES),
    ),
    Attack(
        "earlier SQL first",
        "opens with the previous turn's query, which shares most clauses with gold",
        _NEWER,
        (_run(_NAMES), *_repaired(_TYPED_NEWER, _NEWER)),
        _repaired(_TYPED_NEWER, _NEWER),
    ),
    Attack(
        "padding with earlier SQL",
        "also runs the previous turn's query; the answer is right but shares few clauses with gold",
        _NEWER,
        (_run(_ROUNDABOUT), _run(_NAMES, "pass"), _check(_ROUNDABOUT), _say(_ROUNDABOUT)),
        _straight(_ROUNDABOUT),
    ),
    Attack(
        "proposal dressed as a look",
        "writes its wrong guess as SELECT DISTINCT so that it is no proposal",
        _NAMES,
        (_run("SELECT DISTINCT Name FROM Ferry WHERE Flag LIKE 'norway'"), *_repaired(_TYPED, _NAMES)[1:]),
        _repaired(_TYPED, _NAMES),
    ),
    Attack(
        "answering with a look",
        "answers with the look at the stored values",
        _NAMES,
        (_run("SELECT DISTINCT Name FROM Ferry"), _say("SELECT DISTINCT Name FROM Ferry", "exec")),
        (_run("SELECT Name FROM Ferry"), _say("SELECT Name FROM Ferry", "exec")),
    ),
    Attack(
        "error on purpose",
        "runs a broken query in between to be paid for rejecting it",
        _NAMES,
        (_run(_TYPED), _run(_BROKEN, "no_pass"), *_repaired(_TYPED, _NAMES)[1:]),
        _repaired(_TYPED, _NAMES),
    ),
    Attack(
        "silence on the empty result",
        "gives no verdict where no_pass would earn little",
        _NAMES,
        (_run(_TYPED), _run(_NAMES), _check(_NAMES), _say(_NAMES)),
        _repaired(_TYPED, _NAMES),
    ),
    Attack(
        "verdict spam",
        "gives every verdict in every message",
        _NEWER,
        (
            _run(_FORGOT),
            _BOTH + compose_call("memory_retrieve", _FORGOT),
            f"{_BOTH}<answer_sql>{_FORGOT}</answer_sql>",
        ),
        _straight(_FORGOT),
    ),
    Attack(
        "nonsense shown to the memory",
        "has the memory check a query that is sure to be rejected, and rejects it",
        _NEWER,
        (
            _run(_FORGOT),
            _check("SELECT count(*) FROM Port"),
            compose(verdict=("memory", "no_pass"), answer=_FORGOT),
        ),
        _straight(_FORGOT),
    ),
    Attack(
        "memory asked again and again",
        "after a right correction asks twice more to lift the mean",
        _NEWER,
        (
            *_RECHECK,
            _check(_NEWER),
            compose(verdict=("memory", "pass"), call=("memory_retrieve", _NEWER)),
            _say(_NEWER),
        ),
        (*_RECHECK, _say(_NEWER, "exec")),
    ),
    Attack(
        "memory on a first turn",
        "asks the memory where there is nothing to remember",
        _COUNT,
        _straight(_COUNT),
        (_run(_COUNT), _say(_COUNT, "exec")),
    ),
)
