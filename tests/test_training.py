"""The drivers end to end: what they write, that a kill costs nothing, and that two processes equal one."""

import json
import multiprocessing
import os
import shutil
import signal
import socket
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from toy_model import RESULT, ToyPlay, episode, make_base, questions, sha, toy_profile  # noqa: E402
from transformers import Trainer  # noqa: E402

from mtsql_lib import training  # noqa: E402
from mtsql_lib.checkpoints import RunFolder  # noqa: E402
from mtsql_lib.credit import released  # noqa: E402
from mtsql_lib.engines import TransformersEngine  # noqa: E402
from mtsql_lib.environment import Episode, Observation  # noqa: E402
from mtsql_lib.errors import KitError  # noqa: E402
from mtsql_lib.ledger import Played  # noqa: E402
from mtsql_lib.rollout import rollout, row_seed  # noqa: E402
from mtsql_lib.tokens import load_codec  # noqa: E402
from mtsql_lib.trainer import MultiTurnGRPO, load_model  # noqa: E402
from mtsql_lib.training import finetune, grpo_config, reinforce, sft_config  # noqa: E402

pytestmark = pytest.mark.slow
torch.set_num_threads(1)  # the children of these tests are forks, and threads do not survive a fork
GROUP, STEPS = 3, 3
ORDER = questions(2 * STEPS)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def episodes(base):
    codec = load_codec(base)
    return [episode(codec, q, s, calls=(s + n) % 3) for n, q in enumerate(questions(3)) for s in range(2)]


@pytest.fixture(scope="module")
def tuned(base, episodes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "sft"
    finetune(base, episodes, toy_profile(), folder)
    return folder


@pytest.fixture(scope="module")
def reinforced(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "rl"
    reinforce(base, ORDER, ToyPlay(base, GROUP), toy_profile(), folder)
    return folder


def log(folder):
    return list(map(json.loads, (folder / "log.jsonl").read_text().splitlines()))


def in_a_fork(work, *args):
    """Run in a child process; its exit code, negative for a signal."""
    child = multiprocessing.get_context("fork").Process(target=work, args=args)
    child.start()
    child.join(300)
    return child.exitcode


def same_files(left, right):
    names = [sorted(str(p.relative_to(f)) for p in f.rglob("*") if p.is_file()) for f in (left, right)]
    assert names[0] == names[1]
    for name in names[0]:
        assert (left / name).read_bytes() == (right / name).read_bytes(), f"{name} differs"


def test_finetune_writes_a_model_folder_that_the_kit_can_load(base, tuned):
    names = sorted(p.name for p in tuned.iterdir())
    model_files = ["config.json", "generation_config.json", "log.jsonl", "model.safetensors"]
    assert names == [*model_files, "tokenizer.json", "tokenizer_config.json", "training.json"]
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tuned / name).read_bytes() == (base / name).read_bytes(), "spelled must survive"
    assert load_codec(tuned).vocab_size == load_model(tuned).config.vocab_size
    assert load_model(tuned).config.use_cache
    assert sha(tuned) != sha(base)


def test_finetune_learns_and_tells(tuned):
    opening, *updates = log(tuned)
    assert opening == {
        "episodes": 6,
        "trained_on": 6,
        "cut": 0,
        "unanswered": 0,
        "malformed": 0,
        "overlong": 0,
    }
    assert [u["step"] for u in updates] == [1, 2, 3]
    assert updates[-1]["loss"] < updates[0]["loss"] - 0.3


def test_reinforce_keeps_loadable_models(base, reinforced):
    steps = sorted(p for p in reinforced.glob("step-*"))
    assert [p.name for p in steps] == ["step-0001", "step-0002", "step-0003"]
    assert len({sha(p) for p in steps}) == 3 and sha(steps[-1]) == sha(reinforced)
    for folder in steps:
        assert load_codec(folder).end_of_turn == load_model(folder).config.eos_token_id


def test_reinforce_makes_the_rewarded_likelier(base, reinforced):
    """The log-probability of what was rewarded in the first update rises against that of what was not."""
    play = ToyPlay(base, GROUP)
    played = play(None, ORDER[:2], 0)

    def preference(folder):
        model, total = load_model(folder), 0.0
        with torch.no_grad():
            for e, values in zip(played.episodes, played.advantages, strict=True):
                ids = torch.tensor([e.ids()])
                logps = model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
                total += (logps[torch.tensor(e.mask()[1:]).bool()] * torch.tensor(values)).sum().item()
        return total

    assert preference(reinforced / "step-0001") > preference(base) + 0.1


def test_reinforce_asks_in_order_and_tells(base, tmp_path):
    asked = []

    class Listening(ToyPlay):
        def __call__(self, model, questions, step):
            asked.append((step, questions, model.training))
            return super().__call__(model, questions, step)

    reinforce(base, ORDER, Listening(base, GROUP), toy_profile(), tmp_path / "rl")
    assert asked == [(n, ORDER[2 * n : 2 * n + 2], False) for n in range(STEPS)]
    opening, *updates = log(tmp_path / "rl")
    assert opening == {"questions": 6, "updates": 3}
    # in the first update one of three samples of each question is right; then one question has no contrast
    assert [u["reward"] for u in updates] == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    assert [u["share_trained"] for u in updates] == [1.0, 0.5, 0.5]
    assert all(u["share_cut"] == u["share_unanswered"] == 0 for u in updates)


# --- same seed, same bytes ---


def test_the_same_training_gives_the_same_bytes(base, episodes, tuned, reinforced, tmp_path):
    finetune(base, episodes, toy_profile(), tmp_path / "sft")
    same_files(tmp_path / "sft", tuned)
    reinforce(base, ORDER, ToyPlay(base, GROUP), toy_profile(), tmp_path / "rl")
    same_files(tmp_path / "rl", reinforced)


class Sampled:
    """Episodes that the model under training samples through the kit's engine, scored by what it said.

    `kept` are their JSON texts. An environment answers the first message and ends with the second.
    """

    def __init__(self, base):
        self.codec, self.kept = load_codec(base), []

    def __call__(self, model, asked, step):
        names = [q for q in asked for _ in range(GROUP)]
        episodes = rollout(
            TransformersEngine(model, self.codec.end_of_turn),
            self.codec,
            [Told(name) for name in names],
            temperature=1.0,
            seeds=[row_seed(step, name, n) for n, name in enumerate(names)],
            max_message_tokens=8,
            max_episode_tokens=40,
        )
        self.kept += [e.to_json() for e in episodes]
        rewards = [float(sum(e.steps[0].ids) % 7) for e in episodes]
        groups = range(0, len(names), GROUP)
        parts = [(rewards[n : n + GROUP], episodes[n : n + GROUP]) for n in groups]
        advantages = [row for r, group in parts for row in released(r, [sum(e.mask()) for e in group])]
        return Played(episodes, rewards, advantages)


class Told:
    """An environment that needs no database."""

    def __init__(self, name):
        self.question = SimpleNamespace(id=name)
        self.prompt = f"<|im_start|>user\n{name}<|im_end|>\n<|im_start|>assistant\n"
        self.stop, self.heard = "", 0

    def step(self, text):
        self.heard += 1
        self.stop = "answer" if self.heard == 2 else ""
        return Observation("" if self.stop else RESULT % text, bool(self.stop), self.stop)

    def cut(self):
        self.stop = "length"

    def episode(self, sample, prompt_ids, steps):
        return Episode(
            self.question.id, sample, "agent", self.prompt, prompt_ids, steps, (), (), None, self.stop
        )


def test_sampled_episodes_and_what_is_learnt_from_them_are_the_same_bytes(base, tmp_path):
    plays = [Sampled(base) for _ in range(3)]
    for name, play in zip(("first", "second"), plays, strict=False):
        reinforce(base, ORDER, play, toy_profile(), tmp_path / name)
    assert plays[0].kept == plays[1].kept and len(set(plays[0].kept)) == len(plays[0].kept) == 18
    same_files(tmp_path / "first", tmp_path / "second")
    assert sha(tmp_path / "first") != sha(base)
    args = (base, ORDER, plays[2], toy_profile(), tmp_path / "killed")
    assert in_a_fork(doomed, "in an update", reinforce, *args) == -signal.SIGKILL
    reinforce(*args)
    same_files(tmp_path / "killed", tmp_path / "first")
    assert plays[2].kept == plays[0].kept[6:], "the updates after the checkpoint, on the same episodes"


def test_another_seed_gives_another_order_of_episodes(base, episodes, tuned, tmp_path):
    finetune(base, episodes, toy_profile(seed=2), tmp_path / "sft")
    assert sha(tmp_path / "sft") != sha(tuned)


MOMENTS = {
    "in an update": (torch.optim.AdamW, "step"),
    "in a checkpoint": (Trainer, "_save_optimizer_and_scheduler"),
    "before the mark": (RunFolder, "mark_whole"),
    "in a step folder": (RunFolder, "save"),
}


def doomed(moment, work, *args):
    """Do the work and be killed at the named moment, when it comes for the second time."""
    owner, name = MOMENTS[moment]
    original, calls = getattr(owner, name), []

    def second_call(*args, **kwargs):
        calls.append(name)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(owner, name, second_call)  # in a fork: nobody else sees it
    work(*args)


@pytest.mark.parametrize("moment", MOMENTS)
def test_reinforce_killed_and_called_again(base, reinforced, tmp_path, moment):
    args = (base, ORDER, ToyPlay(base, GROUP), toy_profile(), tmp_path / "rl")
    assert in_a_fork(doomed, moment, reinforce, *args) == -signal.SIGKILL
    assert not RunFolder(tmp_path / "rl", base).finished
    assert (tmp_path / "rl/.resume/checkpoint-1/whole").exists(), "there is something to resume from"
    reinforce(*args)
    same_files(tmp_path / "rl", reinforced)


@pytest.mark.parametrize("moment", ["in an update", "before the mark"])
def test_finetune_killed_and_called_again(base, episodes, tuned, tmp_path, moment):
    args = (base, episodes, toy_profile(), tmp_path / "sft")
    assert in_a_fork(doomed, moment, finetune, *args) == -signal.SIGKILL
    assert (tmp_path / "sft/.resume/checkpoint-1/whole").exists()
    finetune(*args)
    same_files(tmp_path / "sft", tuned)


def test_a_finished_folder_is_left_alone(base, tuned, episodes, tmp_path):
    shutil.copytree(tuned, tmp_path / "sft")
    (tmp_path / "sft/model.safetensors").write_text("not touched")
    finetune(base, episodes, toy_profile(), tmp_path / "sft")
    assert (tmp_path / "sft/model.safetensors").read_text() == "not touched"
    with pytest.raises(KitError, match="holds a training on other"):
        finetune(base, episodes[:-1], toy_profile(), tmp_path / "sft")


# --- LoRA, several processes ---


def test_lora_is_merged_and_resumes(base, tmp_path):
    profile = toy_profile(**{"model.lora_rank": 4})
    args = [base, ORDER, ToyPlay(base, GROUP), profile]
    reinforce(*args, tmp_path / "whole")
    assert not list(tmp_path.rglob("adapter*")) and sha(tmp_path / "whole") != sha(base)
    plain = load_model(tmp_path / "whole")
    assert plain.state_dict().keys() == load_model(base).state_dict().keys()
    assert torch.equal(plain.model.embed_tokens.weight, load_model(base).model.embed_tokens.weight)
    assert in_a_fork(doomed, "in an update", reinforce, *args, tmp_path / "killed") == -signal.SIGKILL
    reinforce(*args, tmp_path / "killed")
    same_files(tmp_path / "killed", tmp_path / "whole")


def test_bfloat16_computes_in_half_and_trains_in_full(base, tmp_path, reinforced):
    profile = toy_profile(**{"model.dtype": "bfloat16"})
    reinforce(base, ORDER, ToyPlay(base, GROUP), profile, tmp_path / "rl")
    assert load_model(tmp_path / "rl", "auto").dtype == torch.float32
    halves, full = ([u["entropy"] for u in log(f)[1:]] for f in (tmp_path / "rl", reinforced))
    assert halves == pytest.approx(full, rel=0.01) and halves != full


def one_of_two(rank, port, work, *args):
    from accelerate.state import AcceleratorState, PartialState

    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    AcceleratorState._reset_state(reset_partial_state=True)
    PartialState._reset_state()
    work(*args)
    torch.distributed.destroy_process_group()


def in_two_processes(work, *args):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=one_of_two, args=(rank, port, work, *args)) for rank in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(600)
    assert [child.exitcode for child in children] == [0, 0]


def assert_same_curve(left, right):
    """Losses within 1e-5, weights within 1e-4 at a learning rate of 1e-3 (AdamW enlarges the last bits)."""
    curves = [[u["loss"] for u in log(folder)[1:]] for folder in (left, right)]
    assert curves[0] == pytest.approx(curves[1], abs=1e-5) and len(curves[0]) == STEPS
    first, second = (dict(load_model(f).named_parameters()) for f in (left, right))
    for name, p in first.items():
        assert (p - second[name]).abs().max() < 1e-4, name


def test_two_processes_give_the_curve_of_one(base, episodes, tmp_path, monkeypatch):
    profile = toy_profile(**{"rl.loss_type": "dapo", "rl.learning_rate": 1e-3, "sft.learning_rate": 1e-3})
    jobs = {
        "rl": (reinforce, (base, ORDER, ToyPlay(base, GROUP), profile)),
        "sft": (finetune, (base, episodes, profile)),
    }
    for name, (work, args) in jobs.items():
        in_two_processes(work, *args, tmp_path / f"two-{name}")
        with monkeypatch.context() as patch:
            patch.setattr(training, "_MICRO_TOKENS", 250 * (3 if name == "rl" else 1))  # two parts an update
            work(*args, tmp_path / f"one-{name}")
        assert_same_curve(tmp_path / f"two-{name}", tmp_path / f"one-{name}")


# --- settings and guards ---


def test_settings_come_from_the_profile(tmp_path):
    config = grpo_config(toy_profile(), tmp_path, 7)
    assert (config.max_steps, config.num_generations, config.generation_batch_size) == (7, 3, 6)
    assert (config.per_device_train_batch_size, config.gradient_accumulation_steps) == (6, 1)
    assert (config.bf16, config.use_cpu, config.shuffle_dataset) == (False, True, False)
    assert not config.use_bias_correction_kl, "verl's KL gradient, not TRL's default"
    config = sft_config(toy_profile(**{"sft.warmup": 0.25}), tmp_path, num_train_epochs=3)
    assert (config.get_warmup_steps(100), config.num_train_epochs, config.lr_scheduler_type) == (
        25,
        3,
        "cosine",
    )


@pytest.mark.parametrize(
    "changes, rows, parts",
    [
        ({"rollout.max_episode_tokens": 768, "rl.prompts_per_step": 16, "rl.group_size": 8}, 128, 1),
        ({"rollout.max_episode_tokens": 12000, "rl.prompts_per_step": 256, "rl.group_size": 5}, 10, 128),
    ],
)
def test_large_batches_are_split_into_equal_parts(tmp_path, changes, rows, parts):
    config = grpo_config(toy_profile(**changes), tmp_path, 1)
    assert (config.per_device_train_batch_size, config.gradient_accumulation_steps) == (rows, parts)


def test_processes_share_a_batch(tmp_path, monkeypatch):
    from mtsql_lib.training import _common

    monkeypatch.setenv("WORLD_SIZE", "4")
    assert _common(toy_profile(), tmp_path, 8)["per_device_train_batch_size"] == 2
    with pytest.raises(KitError, match="6 episodes an update cannot be shared by 4 processes"):
        _common(toy_profile(), tmp_path, 6)


def test_an_order_must_fill_its_updates(base, tmp_path):
    for order in ([], ORDER[:3]):
        with pytest.raises(KitError, match="no whole number of updates of 2"):
            reinforce(base, order, ToyPlay(base, GROUP), toy_profile(), tmp_path / "rl")


def test_nothing_fit_to_train_on(base, tmp_path):
    cut = episode(load_codec(base), "port 1", stop="length")
    with pytest.raises(KitError, match="none of 1 episodes is fit to train on .*'cut': 1"):
        finetune(base, [cut], toy_profile(), tmp_path / "sft")


def test_a_loss_that_explodes_stops_the_run(base, episodes, tmp_path, monkeypatch):
    whole = MultiTurnGRPO._compute_loss
    monkeypatch.setattr(MultiTurnGRPO, "_compute_loss", lambda *args: whole(*args) * float("nan"))
    with pytest.raises(KitError, match="the loss of update 1 is nan: lower the learning rate"):
        reinforce(base, ORDER, ToyPlay(base, GROUP), toy_profile(), tmp_path / "rl")


def test_training_is_quiet(base, episodes, tmp_path, capfd):
    finetune(base, episodes, toy_profile(), tmp_path / "sft")
    reinforce(base, ORDER, ToyPlay(base, GROUP), toy_profile(), tmp_path / "rl")
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
