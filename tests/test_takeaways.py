"""The claim tests say what they should on rows made up for them, and nothing on rows without the effect."""

import random
from dataclasses import replace

import numpy as np
import pytest

from mtsql_lib.arms import ARMS, PAY
from mtsql_lib.rewards import RewardBreakdown
from mtsql_lib.rows import Row
from mtsql_lib.systems import ABLATIONS, SYSTEMS
from mtsql_lib.takeaways import ABLATIONS as ABLATION_CLAIMS
from mtsql_lib.takeaways import AGENTS, TAKEAWAYS, Means, Sheet, Takeaway, check, correlation, ex, gain

QUESTIONS = [(d, t) for d in range(60) for t in range(3)]


def rows(rate, seed=0, **fields):
    """Rows that are right with probability `rate(turn)`."""
    rng = random.Random(seed)
    return [
        Row(f"{d}/{t}", str(d), t, "hard" if d % 2 else "easy", ex=rng.random() < rate(t), **fields)
        for d, t in QUESTIONS
    ]


def sheet(**rates):
    made = {name: [rows(rate, f"{name}{s}") for s in range(3)] for name, rate in rates.items()}
    return Sheet(made, tuple(d < 30 for d, _ in QUESTIONS))


def claim(name):
    return next(c for c in (*TAKEAWAYS, *ABLATION_CLAIMS) if c.id == name)


def test_a_gain_is_shown_and_the_same_data_the_other_way_round_contradicts():
    low, high = (lambda t: 0.2), (lambda t: 0.6)
    assert check(claim("T2"), sheet(untrained=low, direct=high), 300).verdict == "shown"
    assert check(claim("T2"), sheet(untrained=high, direct=low), 300).verdict == "contradicted"
    assert check(claim("T2"), sheet(untrained=low, direct=low), 300).verdict == "not shown"


def test_a_system_that_was_not_played_leaves_the_claim_untested():
    found = check(claim("T2"), sheet(direct=lambda t: 0.5), 50)
    assert found.interval is None and found.verdict == "not run"


def test_one_seed_alone_has_no_verdict():
    made = sheet(untrained=lambda t: 0.2, direct=lambda t: 0.6)
    alone = Sheet({name: runs[:1] for name, runs in made.rows.items()}, made.home)
    assert check(claim("T2"), alone, 100).verdict == "one seed"


def test_a_part_that_was_not_met_leaves_the_claim_untested():
    made = sheet(short_sft=lambda t: 0.2, rl_process=lambda t: 0.2 + 0.3 * (t > 0))
    rows_without = {
        n: [[replace(r, hardness="easy") for r in part] for part in runs] for n, runs in made.rows.items()
    }
    assert check(claim("T4"), Sheet(rows_without, made.home), 50).verdict == "not run"


def test_parts_without_an_effect_are_hardly_ever_contradicted():
    wrong = 0
    for trial in range(60):
        rng = random.Random(trial)
        made = Sheet(
            {
                n: [rows(lambda t: 0.4, f"{n}{s}{rng.random()}") for s in range(3)]
                for n in ("untrained", "round3", "rl_process")
            },
            tuple(True for _ in QUESTIONS),
        )
        wrong += check(claim("T1"), made, 60).verdict == "contradicted"
    assert wrong <= 6  # 2.5 % in truth


def test_a_claim_of_two_parts_is_as_good_as_the_weaker_one():
    parts = sheet(untrained=lambda t: 0.1, round3=lambda t: 0.5, rl_process=lambda t: 0.5)
    found = check(claim("T1"), parts, 300)
    assert found.verdict == "not shown" and found.interval.estimate < 10


def test_gains_on_later_turns_and_harder_questions():
    later = {"short_sft": lambda t: 0.3, "rl_process": lambda t: 0.3 + 0.3 * (t > 0)}
    made, luck = sheet(**later), random.Random(0)

    def lifted(row):
        return replace(row, ex=row.ex or (row.hardness == "hard" and luck.random() < 0.5))

    made.rows["rl_process"] = [[lifted(row) for row in part] for part in made.rows["rl_process"]]
    assert check(claim("T4"), made, 300).verdict == "shown"
    assert check(claim("T4"), sheet(**later), 300).verdict != "shown"  # easier by turn alone


def test_means_weigh_dialogues_and_seeds():
    made = Sheet({"a": [[Row("0/0", "0", 0, ex=True), Row("1/0", "1", 0)]] * 2}, (True, False))
    m = Means(made)
    assert m("a") == 50.0 and m("a", ex, lambda q, home: home) == 100.0
    m.weights = np.array([3.0, 1.0])
    assert m("a") == 75.0
    m.chosen = np.array([0.0, 2.0])
    assert m("a") == 75.0
    assert np.isnan(m("a", lambda row: None))


def test_recovery_counts_the_episodes_in_trouble_alone():
    there = [Row("0/0", "0", 0, ex=True, met_error=True), Row("1/0", "1", 0, ex=True)]
    before = [Row("0/0", "0", 0, met_empty=True), Row("1/0", "1", 0, ex=True)]
    made = Sheet({"untrained": [before], "rl_process": [there]}, (True, True))
    assert claim("T8").parts[0](Means(made)) == 100.0


def test_correlation_over_checkpoints():
    levels = dict(zip(AGENTS, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6), strict=True))
    good = {
        name: [
            rows(lambda t, x=x: x, f"{name}{s}", exec_verdicts=10, exec_right=int(10 * x)) for s in range(3)
        ]
        for name, x in levels.items()
    }
    m = Means(Sheet(good, tuple(True for _ in QUESTIONS)))
    right = correlation(m, lambda r: r.exec_right / r.exec_verdicts)
    assert right > 0.9
    assert correlation(m, lambda r: -r.exec_right / r.exec_verdicts) == pytest.approx(-right)
    assert np.isnan(correlation(m, lambda r: 1.0))  # what never changes goes along with nothing


def test_every_system_that_a_claim_names_is_played():
    class Asked(Means):
        def __init__(self):
            self.names = set()

        def __call__(self, system, *_):
            self.names.add(system)
            return 0.0

        def per_seed(self, system, *_):
            self.names.add(system)
            return np.ones(1)

        chosen = np.ones(1)

    asked = Asked()
    for one in (*TAKEAWAYS, *ABLATION_CLAIMS):
        for part in one.parts:
            part(asked)
    assert asked.names <= {*SYSTEMS, *ABLATIONS, "unselected"}
    assert {*ABLATIONS, "unselected"} <= asked.names  # and nothing is played for no claim
    assert len({one.id for one in (*TAKEAWAYS, *ABLATION_CLAIMS)}) == len(TAKEAWAYS) + len(ABLATION_CLAIMS)
    assert isinstance(gain(asked, "direct", "untrained"), float) and isinstance(TAKEAWAYS[0], Takeaway)


def test_what_an_arm_pays():
    episode = RewardBreakdown(1.0, 0.0, propose=0.5, execute=1.0, memory=None)
    paid = {name: pay(episode) for name, pay in PAY.items()}
    assert paid == pytest.approx({"outcome": 1.0, "process": 1.5, "propose": 1.4, "verify": 1.1})
    assert {arm.pay for arm in ARMS.values()} == set(PAY)
