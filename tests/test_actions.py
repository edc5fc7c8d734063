"""Messages as actions by hand, and their advantages on the way from a stage's episodes to TRL's loss."""

import json
from dataclasses import replace

import pytest
from harbour import TURNS, harbour_questions, make_database

from mtsql_lib.actions import actions, message_terms
from mtsql_lib.arms import PAY
from mtsql_lib.environment import Environment
from mtsql_lib.memory import DialogueMemory
from mtsql_lib.play import Player, act
from mtsql_lib.protocol import compose
from mtsql_lib.rewards import reward
from mtsql_lib.schema import read_schema
from mtsql_lib.scoring import Judge

COUNT, NAMES, _ = (turn.sql for turn in TURNS)
OTHER = "SELECT Name FROM Ferry WHERE Flag = 'SWE' AND built > 3"
BROKEN = "SELECT nam FROM Ferry"
PROBE = "SELECT DISTINCT Flag FROM Ferry"


def run(sql, verdict=None):
    return compose(call=("exec_sql", sql), verdict=verdict and ("exec", verdict))


def check(sql, verdict=None):
    return compose(call=("memory_retrieve", sql), verdict=verdict and ("exec", verdict))


def say(sql, *verdict):
    return compose(answer=sql, verdict=verdict or None)


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    judge = Judge(make_database(tmp_path_factory.mktemp("data")))
    yield judge
    judge.executor.close()


def played(judge, *texts, turn=1, limit=6):
    question = harbour_questions()[turn]
    schema, memory = read_schema(judge.databases, "harbour"), DialogueMemory(question, judge.executor)
    environment = Environment(question, schema, judge.executor, memory, message_limit=limit)
    return act(environment, texts), question


@pytest.mark.parametrize(
    ("texts", "terms"),
    [
        ([run(NAMES), say(NAMES, "exec", "pass")], [{"propose": 1}, {"execute": 1}]),
        ([run(NAMES), say(NAMES)], [{"propose": 1}, {"execute": 0}]),  # the verdict was due in the answer
        ([say(NAMES)], [{}]),
        ([run(PROBE), say(NAMES)], [{}, {}]),  # a look at values is no proposal and needs no verdict
        (
            [run(BROKEN), run(NAMES, "no_pass"), say(NAMES, "exec", "pass")],
            [{"propose": 0}, {"propose": 1, "execute": 1}, {"execute": 1}],
        ),
        (
            [run(NAMES), check(NAMES, "pass"), say(NAMES, "memory", "pass")],
            [{"propose": 1}, {"execute": 1}, {"memory": 1}],
        ),
        (
            [run(NAMES), check(NAMES, "pass"), say(NAMES, "memory", "no_pass")],
            [{"propose": 1}, {"execute": 1}, {"memory": 0}],
        ),
        (["<tool_call>\nnot json\n</tool_call>", say(NAMES)], [{}, {}]),
    ],
)
def test_terms_by_hand(judge, texts, terms):
    assert message_terms(*played(judge, *texts), judge) == terms


def test_on_a_first_turn_the_memory_is_not_scored(judge):
    texts = [run(COUNT), check(COUNT, "pass"), say(COUNT, "memory", "pass")]
    assert message_terms(*played(judge, *texts, turn=0), judge) == [{"propose": 1}, {"execute": 1}, {}]


def test_the_last_permitted_message_owes_nobody_a_verdict(judge):
    episode, question = played(judge, run(NAMES), run(NAMES, "pass"), limit=2)
    assert message_terms(episode, question, judge) == [{"propose": 0}, {"execute": 1}]  # nothing was answered


def test_the_worst_of_the_messages_is_the_terms_of_the_reward(judge):
    texts = [run(OTHER), run(BROKEN, "pass"), check(NAMES, "no_pass"), say(NAMES, "memory", "no_pass")]
    episode, question = played(judge, *texts)
    terms, whole = message_terms(episode, question, judge), reward(episode, question, judge)
    for name in ("execute", "memory"):
        assert min(t[name] for t in terms if name in t) == getattr(whole, name)
    proposals = [t["propose"] for t in terms if "propose" in t]
    assert (min(proposals) + proposals[-1]) / 2 == whole.propose


def test_an_action_is_paid_what_its_arm_pays(judge):
    texts = [run(BROKEN), run(NAMES, "no_pass"), say(NAMES, "exec", "pass")]
    episode, question = played(judge, *texts)

    def scores(pay):
        return [a.score for a in actions(episode, question, judge, PAY[pay])]

    assert scores("process") == pytest.approx([0, 0.9, 0.1])
    assert scores("propose") == pytest.approx([0, 0.8, 0])
    assert scores("verify") == pytest.approx([0, 0.1, 0.1])
    assert scores("outcome") == [0, 0, 0]
    assert [a.kind for a in actions(episode, question, judge, PAY["process"])] == [
        "propose",
        "execute+propose",
        "execute",
    ]


# --- on the way to the loss ---

SMALL = {
    "threads": 1,
    "rl": {"prompts_per_step": 2, "group_size": 2, "held_out": 1, "steps_per_bin": [1, 0, 0]},
}


@pytest.fixture
def run_of(tmp_path, monkeypatch):
    """Runs whose episodes are a script: the first sample of a question is right, the second one wrong."""
    pytest.importorskip("torch")
    from toy_model import make_base

    from mtsql_lib.run import open_run

    def scripted(player, batch, setting, seed):
        done = []
        for question, sqls, sample in batch:
            environment = player.table.environment(question, setting, sqls)
            sql = question.gold if sample % 2 == 0 else "SELECT 1"
            episode = act(environment, [run(sql), say(sql, "exec", "pass")], player.codec)
            done.append(player.table.scored(question, replace(episode, sample=sample)))
        return done

    monkeypatch.setattr(Player, "_play_batch", scripted)
    base = make_base(tmp_path / "base")

    def make(how):
        overrides = SMALL | {"model": {"path": str(base)}, "rl": SMALL["rl"] | {"credit": how}}
        return open_run("smoke", 1, str(tmp_path / how), json.dumps(overrides)), base

    return make


def batch_at_the_loss(run, base, arm, monkeypatch, folder):
    """What TRL's own loss is given in one update of an arm, and the loss that comes out."""
    import trl
    from datasets import Dataset

    from mtsql_lib.reinforcement import rollouts
    from mtsql_lib.trainer import MultiTurnGRPO, load_model, load_tokenizer
    from mtsql_lib.training import grpo_config

    seen, whole = [], trl.GRPOTrainer._compute_loss

    def listening(trainer, model, inputs):
        loss = whole(trainer, model, inputs)
        seen.append((dict(inputs), loss.item()))
        return loss

    monkeypatch.setattr(trl.GRPOTrainer, "_compute_loss", listening)
    asked = [i for i in run.pool if run.questions[i].turn == 0][:2]
    dataset = Dataset.from_list([{"prompt": i} for i in asked])
    config = grpo_config(run.profile, folder, 1, save_strategy="no", disable_tqdm=True)
    MultiTurnGRPO(load_model(base), load_tokenizer(base), dataset, rollouts(run, arm), config).train()
    (found,) = seen
    return found


def spans(alive):
    """Where the messages of a row stand: (start, end) of each run of sampled tokens."""
    edges = [n for n in range(len(alive) + 1) if (alive[n - 1 : n] or [0]) != (alive[n : n + 1] or [0])]
    return list(zip(edges[::2], edges[1::2], strict=True))


# outcomes 2 and 0: mean 1, standard deviation sqrt(2); proposals 0.8 and 0: mean 0.4, deviation 0.8 / sqrt(2)
OUTCOME = 1 / (2**0.5 + 1e-4)
PROCESS = 0.4 / (0.8 / 2**0.5 + 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "arm", "first", "second"),
    [
        # both verdicts fit, so they do not differ; the proposal earns half of its advantage on top
        ("per_action", "rl_process", OUTCOME * (1 + PROCESS / 2), OUTCOME),
        ("per_action", "rl_verify", OUTCOME, OUTCOME),
        ("per_action", "rl_outcome", OUTCOME, OUTCOME),
        # totals 2.9 and 0.1 on every token
        ("released", "rl_process", 1.4 / (2.8 / 2**0.5 + 1e-4), 1.4 / (2.8 / 2**0.5 + 1e-4)),
    ],
)
def test_the_loss_gets_each_message_its_advantage(run_of, monkeypatch, tmp_path, how, arm, first, second):
    batch, loss = batch_at_the_loss(*run_of(how), arm, monkeypatch, tmp_path / "trl")
    alive = (batch["completion_mask"] * batch["tool_mask"]).tolist()
    assert batch["advantages"].shape == batch["completion_ids"].shape and len(alive) == 4
    summed = count = 0
    signs = []
    for row, values in zip(alive, batch["advantages"].tolist(), strict=True):
        (a, b), (c, d) = spans(row)
        sign = 1 if values[a] > 0 else -1
        signs.append(sign)
        assert values[a:b] == pytest.approx([sign * first] * (b - a), rel=1e-5)
        assert values[c:d] == pytest.approx([sign * second] * (d - c), rel=1e-5)
        assert not any(v for v, on in zip(values, row, strict=True) if not on), "nothing on tool results"
        summed, count = summed + sum(values), count + sum(row)
    assert sorted(signs) == [-1, -1, 1, 1]
    assert loss == pytest.approx(-summed / count, abs=1e-5), "bnpo at ratio 1"


def test_the_default_is_the_released_credit():
    from mtsql_lib.config import Profile, profile_names

    assert {Profile.load(name).rl.credit for name in profile_names()} == {"released"}
