"""The trainers on a toy model: TRL's contract, losses against arithmetic, and what must not change them.

Tolerances (float32): a loss may differ by 2e-6, a gradient by 1e-5 of its norm, for sums in another order.
"""

import inspect

import pytest

torch = pytest.importorskip("torch")
trl = pytest.importorskip("trl")

from datasets import Dataset  # noqa: E402
from toy_model import ToyPlay, episode, make_base, questions, toy_profile  # noqa: E402

from mtsql_lib import trainer as trainer_module  # noqa: E402
from mtsql_lib.errors import KitError  # noqa: E402
from mtsql_lib.ledger import batch_of, sft_rows  # noqa: E402
from mtsql_lib.tokens import load_codec  # noqa: E402
from mtsql_lib.trainer import MultiTurnGRPO, MultiTurnSFT, load_model, load_tokenizer  # noqa: E402
from mtsql_lib.training import grpo_config, sft_config  # noqa: E402

pytestmark = pytest.mark.slow
torch.set_num_threads(1)
PROMPTS, GROUP = 4, 3
LOSSES = ["bnpo", "dapo", "dr_grpo", "grpo"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def make_grpo(base, tmp_path):
    def make(play=None, model=None, lora=None, profile=None, **changes):
        profile = profile or toy_profile(**{"rl.prompts_per_step": PROMPTS})
        dataset = Dataset.from_list([{"prompt": q} for q in questions(PROMPTS)])
        config = grpo_config(profile, tmp_path / "run", 1, **changes)
        play = play or ToyPlay(base, GROUP)
        return MultiTurnGRPO(model or load_model(base), load_tokenizer(base), dataset, play, config, lora)

    return make


@pytest.fixture
def make_sft(base, tmp_path):
    def make(episodes=None, model=None, **changes):
        profile = toy_profile(**{"sft.batch_size": 6})
        return MultiTurnSFT(
            model or load_model(base),
            load_tokenizer(base),
            episodes or some_episodes(base),
            sft_config(profile, tmp_path / "run", **changes),
        )

    return make


def some_episodes(base):
    codec = load_codec(base)
    return [episode(codec, q, s, calls=(s + n) % 3) for n, q in enumerate(questions(3)) for s in range(2)]


def grpo_batch(trainer):
    rows = [{"prompt": q} for q in questions(PROMPTS) for _ in range(GROUP)]
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    return trainer._generate_and_score_completions(rows)


def with_gradients(trainer, loss):
    """The loss's value and all gradients in one vector."""
    trainer.model.zero_grad()
    loss.backward()
    trained = [p for p in trainer.model.parameters() if p.requires_grad]
    return loss.item(), torch.cat(
        [torch.zeros(p.numel()) if p.grad is None else p.grad.flatten() for p in trained]
    )


def grpo_loss(trainer, batch):
    return with_gradients(trainer, trainer.compute_loss(trainer.model, dict(batch)))


def sft_loss(trainer, batch):
    count = (batch["labels"][:, 1:] != -100).sum()
    return with_gradients(trainer, trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=count))


def assert_same(left, right):
    assert left[0] == pytest.approx(right[0], abs=2e-6)
    assert (left[1] - right[1]).norm() <= 1e-5 * right[1].norm()
    assert right[1].norm() > 1e-3, "a test on vanishing gradients shows nothing"


# --- TRL's contract ---


def test_the_pinned_version():
    assert trl.__version__ == "1.16.0", "another TRL: read its overridden methods again, then move this pin"


@pytest.mark.parametrize(
    "owner, method, parameters",
    [
        (trl.GRPOTrainer, "_generate_and_score_completions", "self inputs"),
        (trl.GRPOTrainer, "_compute_loss", "self model inputs"),
        (
            trl.GRPOTrainer,
            "_get_per_token_logps_and_entropies",
            "self model input_ids attention_mask logits_to_keep batch_size "
            "compute_entropy compute_aux_loss pixel_values image_grid_thw num_images pixel_attention_mask "
            "spatial_shapes num_tiles image_sizes token_type_ids mm_token_type_ids image_position_ids",
        ),
        (trl.SFTTrainer, "compute_loss", "self model inputs return_outputs num_items_in_batch"),
    ],
)
def test_overridden_methods_still_have_these_parameters(owner, method, parameters):
    assert list(inspect.signature(getattr(owner, method)).parameters) == parameters.split()
    assert method in vars(owner), "the method moved to another class"


def test_what_trl_reads_from_our_batch(make_grpo):
    source = inspect.getsource(trl.GRPOTrainer._compute_loss)
    for name in grpo_batch(make_grpo()):
        assert f'"{name}"' in source, f"TRL's loss no longer reads {name}"
    assert "advantages.dim() == 1" in source, "(B, T) advantages are no longer a seam"
    prepare = inspect.getsource(trl.GRPOTrainer._prepare_inputs)
    assert "_generate_and_score_completions" in prepare and "steps_per_generation" in prepare


def test_trl_scores_nothing_itself(make_grpo):
    with pytest.raises(RuntimeError, match="rewards come with the episodes"):
        make_grpo().reward_funcs[0](prompts=[], completions=[])


# --- losses against plain arithmetic ---


def reference_loss(model, played, loss_type, temperature, longest, beta=0.0, start=None):
    """GRPO's objective episode by episode, at ratio 1: no padding, no batch, nothing shared."""
    sums, counts = [], []
    for e, values in zip(played.episodes, played.advantages, strict=True):
        ids, alive = torch.tensor([e.ids()]), torch.tensor(e.mask()[1:]).bool()

        def logps(of, ids=ids, alive=alive):
            logits = of(ids).logits[0, :-1] / temperature
            return logits.log_softmax(-1).gather(1, ids[0, 1:, None])[alive, 0]

        own = logps(model)
        terms = -(own - own.detach()).exp() * torch.tensor(values)
        if beta:
            gap = logps(start).detach() - own
            terms = terms + beta * (gap.exp() - gap - 1)
        sums.append(terms.sum())
        counts.append(len(terms))
    if loss_type == "grpo":  # mean of the episodes' means
        return sum(s / n for s, n in zip(sums, counts, strict=True)) / len(sums)
    if loss_type == "dr_grpo":  # a constant instead of the length
        return sum(sums) / (len(sums) * longest)
    return sum(sums) / sum(counts)  # bnpo, dapo: mean over all tokens


@pytest.mark.parametrize("credit", ["released", "per_action"])
@pytest.mark.parametrize("loss_type", LOSSES)
def test_loss_and_gradients_equal_the_reference(base, make_grpo, loss_type, credit):
    play = ToyPlay(base, GROUP, credit)
    trainer = make_grpo(play, loss_type=loss_type, temperature=0.7)
    batch = grpo_batch(trainer)
    played = play(None, questions(PROMPTS), 0)
    expected = reference_loss(trainer.model, played, loss_type, 0.7, trainer.max_completion_length)
    assert_same(grpo_loss(trainer, batch), with_gradients(trainer, expected))


@pytest.mark.parametrize("loss_type", LOSSES)
def test_loss_by_the_number(base, make_grpo, loss_type):
    # at ratio 1 each sampled token contributes minus its advantage, whatever the model is
    trainer = make_grpo(ToyPlay(base, GROUP, "per_action"), loss_type=loss_type)
    values = trainer.play(None, questions(PROMPTS), 0).advantages
    total, tokens = sum(map(sum, values)), sum(map(len, values))
    by_hand = {
        "grpo": -sum(sum(v) / len(v) for v in values) / len(values),
        "dr_grpo": -total / (len(values) * 250),
        "bnpo": -total / tokens,
        "dapo": -total / tokens,
    }
    loss, _ = grpo_loss(trainer, grpo_batch(trainer))
    assert loss == pytest.approx(by_hand[loss_type], abs=1e-6) and abs(loss) > 1e-4


@pytest.mark.parametrize("loss_type", ["bnpo", "grpo"])
def test_kl_term_pulls_to_the_starting_model(base, make_grpo, loss_type):
    profile = toy_profile(**{"rl.prompts_per_step": PROMPTS, "rl.beta": 0.3})
    trainer = make_grpo(profile=profile, loss_type=loss_type)
    start = load_model(base)
    with torch.no_grad():
        for p in trainer.model.parameters():
            p.mul_(1.1)
    batch = grpo_batch(trainer)
    played = trainer.play(None, questions(PROMPTS), 0)
    expected = reference_loss(trainer.model, played, loss_type, 1.0, 250, 0.3, start)
    without = reference_loss(trainer.model, played, loss_type, 1.0, 250)
    assert expected > without + 1e-3
    assert_same(grpo_loss(trainer, batch), with_gradients(trainer, expected))


def test_kl_under_lora_is_to_the_model_without_adapters(base, make_grpo):
    from peft import LoraConfig

    profile = toy_profile(**{"rl.prompts_per_step": PROMPTS, "rl.beta": 0.3})
    lora = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    trainer = make_grpo(profile=profile, lora=lora)
    batch = grpo_batch(trainer)
    played = trainer.play(None, questions(PROMPTS), 0)
    expected = reference_loss(trainer.model, played, "bnpo", 1.0, 250, 0.3, load_model(base))
    assert_same(grpo_loss(trainer, batch), with_gradients(trainer, expected))


# --- what must not change the loss ---


@pytest.mark.parametrize("credit", ["released", "per_action"])
def test_shared_prefix_equals_trls_row_by_row(base, make_grpo, credit):
    trainer = make_grpo(ToyPlay(base, GROUP, credit), temperature=0.7)
    batch = grpo_batch(trainer)
    shared = grpo_loss(trainer, batch)
    trainer.share_prefix = False
    assert_same(shared, grpo_loss(trainer, batch))


def test_shared_prefix_gives_the_same_log_probabilities(base, make_grpo, monkeypatch):
    from mtsql_lib import shared_prefix

    trainer = make_grpo()
    batch = grpo_batch(trainer)
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    attention = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    width = batch["completion_ids"].shape[1]

    def both():
        return trainer._get_per_token_logps_and_entropies(
            trainer.model, ids, attention, width, compute_entropy=True
        )[:2]

    whole = both()
    monkeypatch.setattr(shared_prefix, "_LARGEST_LOGITS", 4000)  # the head in chunks, computed again backward
    monkeypatch.setattr(shared_prefix, "_LARGEST_MASK", 100**2)  # groups split over several passes
    pieces = both()
    trainer.share_prefix = False
    real = batch["completion_mask"].bool()
    for left, middle, right in zip(whole, pieces, both(), strict=True):
        torch.testing.assert_close(left[real], right[real], atol=2e-5, rtol=0)
        torch.testing.assert_close(middle[real], right[real], atol=2e-5, rtol=0)
        assert not left[~real].any()


def test_chunked_head_gives_the_same_gradients(make_grpo, monkeypatch):
    from mtsql_lib import shared_prefix

    trainer = make_grpo()
    batch = grpo_batch(trainer)
    whole = grpo_loss(trainer, batch)
    monkeypatch.setattr(shared_prefix, "_LARGEST_LOGITS", 4000)
    assert_same(grpo_loss(trainer, batch), whole)


@pytest.mark.parametrize("shared", [True, False])
def test_order_and_padding_do_not_matter(make_grpo, shared):
    trainer = make_grpo()
    trainer.share_prefix = shared
    batch = grpo_batch(trainer)
    expected = grpo_loss(trainer, batch)
    order = torch.randperm(PROMPTS * GROUP, generator=torch.Generator().manual_seed(1))
    shuffled = {name: value[order] if value.ndim else value for name, value in batch.items()}
    assert_same(grpo_loss(trainer, shuffled), expected)
    pad = torch.nn.functional.pad
    wider = {n: pad(v, (7, 0) if "prompt" in n else (0, 5)) if v.ndim else v for n, v in batch.items()}
    assert_same(grpo_loss(trainer, wider), expected)


def test_a_group_of_long_completions_is_split_behind_copies_of_its_prompt(make_grpo, monkeypatch):
    trainer = make_grpo()
    batch = grpo_batch(trainer)
    passes = []
    trainer.model.model.register_forward_pre_hook(lambda *_: passes.append(1))
    losses, counts = [], []
    for most in (1000, 0):
        monkeypatch.setattr("mtsql_lib.shared_prefix._PER_PROMPT", most)
        passes.clear()
        losses.append(grpo_loss(trainer, batch))
        counts.append(len(passes))
    assert counts == [PROMPTS - 1, (PROMPTS - 1) * GROUP], "a pass for each group, and for each completion"
    assert_same(*losses)


def test_groups_without_contrast_are_not_computed_but_counted(make_grpo, monkeypatch):
    monkeypatch.setattr("mtsql_lib.shared_prefix._PER_PROMPT", 1000)
    trainer = make_grpo()
    seen = []
    handle = trainer.model.model.register_forward_pre_hook(
        lambda m, a, kw: seen.append(kw["input_ids"].shape), with_kwargs=True
    )
    batch = grpo_batch(trainer)
    idle = (~batch["advantages"].ne(0).any(1)).sum()
    skipping = grpo_loss(trainer, batch)
    handle.remove()
    assert idle == GROUP and len(seen) == PROMPTS - 1, "one group of the toy play has no contrast"
    trainer.share_prefix = False  # TRL computes all rows
    assert_same(skipping, grpo_loss(trainer, batch))
    ours, theirs = trainer._metrics["train"]["entropy"]
    assert ours == pytest.approx(theirs, rel=0.02), "the mean over the rows computed stands for all"


def test_a_batch_without_any_contrast_changes_nothing(make_grpo):
    trainer = make_grpo()
    batch = grpo_batch(trainer)
    batch["advantages"].zero_()
    trainer.ledger.check = lambda *_: None
    loss, gradients = grpo_loss(trainer, batch)
    assert loss == 0 and not gradients.any()


def gradient_step(make, **changes):
    """Weights lost in one SGD update of rate 1: the gradient of the whole machinery."""
    trainer = make(optim="sgd", learning_rate=1.0, max_grad_norm=0.0, lr_scheduler_type="constant", **changes)
    before = torch.cat([p.detach().flatten().clone() for p in trainer.model.parameters()])
    trainer.args.save_strategy = "no"
    trainer.train()
    loss = trainer.state.log_history[0]["loss"]
    return loss, before - torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


@pytest.mark.parametrize("loss_type", ["dapo", "dr_grpo", "grpo"])
def test_grpo_micro_batches_do_not_matter(make_grpo, loss_type):
    rows = PROMPTS * GROUP
    whole, split = (
        gradient_step(
            make_grpo,
            loss_type=loss_type,
            per_device_train_batch_size=rows // parts,
            gradient_accumulation_steps=parts,
        )
        for parts in (1, 4)
    )
    assert_same(split, whole)


def test_sft_micro_batches_and_packing_do_not_matter(make_sft):
    common = {"num_train_epochs": 1, "warmup_steps": 0}
    whole = gradient_step(make_sft, **common)
    split = gradient_step(make_sft, per_device_train_batch_size=2, gradient_accumulation_steps=3, **common)
    packed = gradient_step(
        make_sft, packing=True, max_length=2000, per_device_train_batch_size=1, **common
    )  # all six in one row
    assert_same(split, whole)
    assert_same(packed, whole)


def test_sft_loss_equals_the_reference_whatever_order_and_padding(base, make_sft):
    episodes = some_episodes(base)
    trainer = make_sft(episodes)
    rows = sft_rows(episodes)
    terms = []
    for e in episodes:
        ids = torch.tensor([e.ids()])
        logps = trainer.model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
        terms.append(-logps[torch.tensor(e.mask()[1:]).bool()])
    expected = with_gradients(trainer, torch.cat(terms).mean())
    batch = trainer.data_collator(rows)
    assert_same(sft_loss(trainer, batch), expected)
    assert_same(sft_loss(trainer, trainer.data_collator(rows[::-1])), expected)
    filler = {"input_ids": trainer.processing_class.pad_token_id, "attention_mask": 0, "labels": -100}
    for sides in ((9, 0), (0, 9)):
        padded = {n: torch.nn.functional.pad(v, sides, value=filler[n]) for n, v in batch.items()}
        assert_same(sft_loss(trainer, padded), expected)


def test_sft_trains_the_end_of_turn_and_not_the_newline_after_it(base, make_sft):
    episodes = some_episodes(base)
    trainer = make_sft(episodes)
    batch = trainer.data_collator(sft_rows(episodes))
    labels, end = batch["labels"], load_codec(base).end_of_turn
    assert (labels == end).sum() == sum(len(e.steps) for e in episodes)
    after = labels[:, 1:][labels[:, :-1] == end]
    assert (after == -100).all(), "what follows a sampled end of turn is the environment's"


# --- guards ---


END = 0  # the id of the end-of-turn token in the toy vocabulary


def mask_late_by_one(batch):
    batch["tool_mask"] = batch["tool_mask"].roll(1, 1)


def end_of_turn_not_trained(batch):
    batch["tool_mask"] = batch["tool_mask"] * (batch["completion_ids"] != END)


def encoded_again(batch):
    # another spelling of a sampled word: any other id stands for it here
    first = batch["tool_mask"].argmax(1, keepdim=True)
    batch["completion_ids"].scatter_add_(1, first, torch.ones_like(first))


def groups_swapped(batch):
    batch["advantages"] = batch["advantages"].roll(GROUP, 0)


def pad_taken_for_end_of_turn(batch):
    # what a mask made by `ids != pad` is where both are one token
    batch["completion_mask"] = batch["completion_mask"] * (batch["completion_ids"] != END)


@pytest.mark.parametrize(
    ("bug", "complaint"),
    [
        (mask_late_by_one, "trains on"),
        (end_of_turn_not_trained, "other tokens than the sampled ones"),
        (encoded_again, "ids that no recorded episode has"),
        (groups_swapped, "advantages of another episode"),
        (pad_taken_for_end_of_turn, "ids that no recorded episode has"),
    ],
)
def test_a_bug_between_episodes_and_loss_stops_the_training(base, make_grpo, monkeypatch, bug, complaint):
    def spoilt(played, pad):
        batch = batch_of(played, pad)
        bug(batch)
        return batch

    assert load_codec(base).end_of_turn == END
    monkeypatch.setattr(trainer_module, "batch_of", spoilt)
    with pytest.raises(KitError, match=complaint):
        make_grpo().train()


def rows_late_by_one(rows):
    return [{**r, "labels": [-100, *r["labels"][:-1]]} for r in rows]


def rows_without_end_of_turn(rows):
    return [{**r, "labels": [-100 if i == END else i for i in r["labels"]]} for r in rows]


def rows_encoded_again(rows):
    return [{"input_ids": [*r["input_ids"][:-2], 5, END], "labels": r["labels"]} for r in rows]


@pytest.mark.parametrize(
    ("bug", "complaint"),
    [
        (rows_late_by_one, "other tokens than the sampled ones"),
        (rows_without_end_of_turn, "other tokens than the sampled ones"),
        (rows_encoded_again, "ids that no recorded episode has"),
    ],
)
def test_a_bug_between_episodes_and_rows_stops_the_fine_tuning(make_sft, monkeypatch, bug, complaint):
    monkeypatch.setattr(trainer_module, "sft_rows", lambda episodes: bug(sft_rows(episodes)))
    with pytest.raises(KitError, match=complaint):
        make_sft().train()


def test_engine_and_trainer_see_the_same_tokens(base, make_grpo):
    """Sampled by the kit's engine, scored by the trainer: the log-probabilities agree; spoilt ones do not."""
    import dataclasses

    from mtsql_lib.engines import TransformersEngine

    codec = load_codec(base)

    def play(model, asked, step):
        toy = ToyPlay(base, GROUP)(model, asked, step)
        engine = TransformersEngine(model, codec.end_of_turn)
        with engine.session(list(range(len(toy.episodes))), 1.0, 200) as session:
            for row, e in enumerate(toy.episodes):
                session.submit(row, e.prompt_ids, 8)
            messages = {}
            while session.running:
                messages |= {m.row: m for m in session.advance()}
        episodes = []
        for row, e in enumerate(toy.episodes):
            said = dataclasses.replace(
                e.steps[-1], ids=messages[row].ids, logprobs=tuple(p + shift for p in messages[row].logprobs)
            )
            episodes.append(dataclasses.replace(e, steps=(said,), stop="length"))
        advantages = [[v[0]] * len(e.steps[0].ids) for v, e in zip(toy.advantages, episodes, strict=True)]
        return dataclasses.replace(toy, episodes=episodes, advantages=advantages)

    for shift in (0.0, 0.5):
        trainer = make_grpo(play)
        grpo_loss(trainer, grpo_batch(trainer))
        assert trainer._metrics["train"]["logprob_gap"][0] == pytest.approx(shift, abs=2e-5)


def test_half_a_group_is_refused(make_grpo):
    trainer = make_grpo()
    with pytest.raises(KitError, match="half a group"):
        trainer._generate_and_score_completions([{"prompt": q} for q in questions(2) for _ in range(2)])


def test_no_model(tmp_path):
    with pytest.raises(KitError, match="no model at .*make base"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(KitError, match="cannot be loaded"):
        load_model(tmp_path)


def test_gradient_checkpointing_changes_nothing(make_grpo):
    expected, saving = make_grpo(), make_grpo()
    saving.model.gradient_checkpointing_enable()
    assert saving.model.is_gradient_checkpointing and not expected.model.is_gradient_checkpointing
    assert_same(grpo_loss(saving, grpo_batch(saving)), grpo_loss(expected, grpo_batch(expected)))
