"""The engine against the plain loop over the whole model, and its independence of the batch."""

import copy
import random

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from transformers import Qwen3Config, Qwen3ForCausalLM  # noqa: E402

from mtsql_lib.engines import Message, TransformersEngine, draw, uniforms  # noqa: E402
from mtsql_lib.errors import KitError  # noqa: E402

END, VOCABULARY, LIMIT, MESSAGES = 5, 90, 9, 3
ROWS = 12
OPENING = 40


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.15,  # far from uniform, so that greedy choices and samples depend on the context
    )
    return Qwen3ForCausalLM(config).eval()


def numbers(seed, low, high):
    draw_from = random.Random(seed)
    return [draw_from.randrange(6, VOCABULARY) for _ in range(draw_from.randrange(low, high))]


def prompt(row):
    group = row // 3  # three rows a prompt, and two prompts an opening
    return numbers(500 + group // 2, OPENING, OPENING + 1) + numbers(group, 1, 30)


def observation(row, message):
    return numbers(1000 + 10 * row + message, 1, 20)


def play(model, rows=tuple(range(ROWS)), *, slots=8, temperature=0.0, wait=0):
    """Episodes of MESSAGES messages; `wait` steps pass between a message and its observation."""
    engine = TransformersEngine(model, END, slots=slots)
    said: dict[int, list[Message]] = {row: [] for row in rows}
    waiting: list[tuple[int, int]] = []
    with engine.session([100 + row for row in rows], temperature, 200) as session:
        for place, row in enumerate(rows):
            session.submit(place, prompt(row), LIMIT)
        step = 0
        while session.running or waiting:
            for message in session.advance():
                said[rows[message.row]].append(message)
                waiting.append((step + wait, message.row))
            ready = [place for due, place in waiting if due <= step]
            waiting = [(due, place) for due, place in waiting if due > step]
            for place in ready:
                row = rows[place]
                if len(said[row]) == MESSAGES:
                    session.release(place)
                else:
                    session.submit(place, observation(row, len(said[row])), LIMIT)
            step += 1
    return {row: [(m.ids, m.logprobs) for m in messages] for row, messages in said.items()}


@pytest.fixture(scope="module")
def plain(model):
    """The episodes of the plain loop, row by row."""
    return [plainly(model, row) for row in range(ROWS)]


def plainly(model, row):
    """The same episode, greedy, with the whole context through the model for every token and no cache."""
    context, said = prompt(row), []
    for message in range(1, MESSAGES + 1):
        ids, logprobs = [], []
        while len(ids) < LIMIT and END not in ids:
            with torch.no_grad():
                scores = model(torch.tensor([context + ids]), use_cache=False).logits[0, -1].log_softmax(-1)
            ids.append(int(scores.argmax()))
            logprobs.append(float(scores.max()))
        said.append((tuple(ids), tuple(logprobs)))
        context = context + ids + observation(row, message)
    return said


def assert_same(left, right):
    for (ids, logprobs), (expected, expected_logprobs) in zip(left, right, strict=True):
        assert ids == expected
        np.testing.assert_allclose(logprobs, expected_logprobs, atol=2e-5)


@pytest.mark.parametrize("slots, wait", [(8, 0), (5, 3), (ROWS, 1)])
def test_greedy_episodes_equal_the_plain_loop(model, plain, slots, wait):
    played = play(model, slots=slots, wait=wait)
    for row in range(ROWS):
        assert_same(played[row], plain[row])


def test_some_messages_end_by_themselves_and_some_at_the_limit(model):
    messages = [ids for said in play(model, temperature=1.0).values() for ids, _ in said]
    assert any(ids[-1] == END for ids in messages) and any(ids[-1] != END for ids in messages)
    assert all(END not in ids[:-1] and len(ids) <= LIMIT for ids in messages)


@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_samples_do_not_depend_on_the_batch(model, temperature):
    expected = play(model, temperature=temperature)
    shuffled = list(range(ROWS))
    random.Random(1).shuffle(shuffled)
    for rows, slots, wait in ((shuffled, 12, 0), (shuffled[:5], 2, 4), (range(ROWS), 3, 1), ([7], 1, 0)):
        for row, said in play(model, tuple(rows), slots=slots, temperature=temperature, wait=wait).items():
            assert_same(said, expected[row])


def test_rows_with_other_seeds_differ(model):
    said = play(model, temperature=1.0)
    assert len({tuple(said[row]) for row in (0, 1, 2)}) == 3, "three rows share a prompt and nothing else"


def test_a_prompt_is_computed_once_for_its_group_and_an_opening_once_for_all(model):
    widths = []
    body = model.get_decoder()
    handle = body.register_forward_pre_hook(
        lambda module, args, options: widths.append(options["chunk"].tokens), with_kwargs=True
    )
    try:
        play(model, slots=ROWS)
    finally:
        handle.remove()
    assert widths[0] == sum(len(prompt(row)) - 1 for row in (0, 6))
    assert widths[1] == sum(len(prompt(row)) - 1 - OPENING for row in (3, 9))


def test_a_prompt_may_be_the_beginning_of_another(model):
    long = numbers(7, 60, 61)
    said = []
    for prompts in ([long], [long, long[:50]], [long[:50]]):
        with TransformersEngine(model, END).session([1] * len(prompts), 0.0, 100) as session:
            for row, ids in enumerate(prompts):
                session.submit(row, ids, LIMIT)
            found = {}
            while session.running:
                found |= {m.row: m.ids for m in session.advance()}
        said.append(found)
    assert said[1] == {0: said[0][0], 1: said[2][0]}


def test_the_model_is_left_as_it_was_even_after_a_fault(model):
    model.train()
    before = model.config._attn_implementation
    with pytest.raises(ZeroDivisionError), TransformersEngine(model, END).session([1], 0.0, 50):
        assert not model.training
        raise ZeroDivisionError
    assert model.training and model.config._attn_implementation == before
    model.eval()


def test_new_weights_are_seen_by_the_next_session(model):
    other = copy.deepcopy(model)
    engine = TransformersEngine(other, END)

    def first():
        with engine.session([1], 0.0, 100) as session:
            session.submit(0, prompt(0), 5)
            while not (done := session.advance()):
                pass
        return done[0].logprobs

    before = first()
    assert first() == before
    with torch.no_grad():
        other.model.layers[1].self_attn.v_proj.weight.mul_(1.5)
    assert first() != before


def test_a_row_that_cannot_fit_is_refused(model):
    with TransformersEngine(model, END).session([1], 0.0, 30) as session:
        with pytest.raises(KitError, match="row 0 may take 41 tokens where 30 fit"):
            session.submit(0, [7] * 31, 10)


def test_a_prompt_of_one_token_is_enough(model):
    with TransformersEngine(model, END, slots=2).session([1, 2, 3], 1.0, 30) as session:
        for row in range(3):
            session.submit(row, [7], 4)
        seen = set()
        while session.running:
            for message in session.advance():
                seen.add(message.row)
                session.release(message.row)
    assert seen == {0, 1, 2}


def test_uniforms_are_fixed_for_ever():
    # recorded figures depend on these numbers: a change makes old and new runs incomparable
    assert uniforms([0, 0, 1, 2**64 + 1], [0, 1, 0, 0]).tolist() == pytest.approx(
        [0.6524484863, 0.1663964393, 0.3681895155, 0.3681895155], abs=1e-9
    )
    many = uniforms(list(range(200)) * 50, np.repeat(np.arange(50), 200).tolist())
    assert 0 <= many.min() and many.max() < 1
    assert abs(many.mean() - 0.5) < 0.01 and abs(many.var() - 1 / 12) < 0.003
    assert len(set(many.tolist())) > 9_990


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_draw_follows_the_tempered_distribution(temperature):
    logits = torch.tensor([[2.0, 0.0, 1.0, -1e9, -3.0]])
    n = 4000
    ids, logprobs = draw(logits.expand(n, -1), temperature, (np.arange(n) + 0.5) / n)
    shares = np.bincount(ids, minlength=5) / n
    np.testing.assert_allclose(shares, (logits[0] / temperature).softmax(0).numpy(), atol=1 / n)
    own = logits[0].log_softmax(0)
    np.testing.assert_allclose(logprobs, own[ids].numpy(), rtol=1e-6)


def test_draw_reaches_both_ends_and_never_an_impossible_id():
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]]).expand(2, -1)
    assert draw(logits, 1.0, np.array([0.0, 1 - 2.0**-32]))[0] == [1, 3]


def test_greedy_takes_the_likeliest():
    assert draw(torch.tensor([[0.0, 3.0, 1.0]]), 0, np.array([0.99]))[0] == [1]


def test_adapters_are_part_of_the_model(model, plain):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)
    torch.manual_seed(1)
    adapted = peft.get_peft_model(copy.deepcopy(model), config).eval()
    played = play(adapted, (0, 4, 8))
    for row in (0, 4, 8):
        assert_same(played[row], plainly(adapted, row))
    assert any(played[row][0][0] != plain[row][0][0] for row in (0, 4, 8)), "the adapter changes what is said"


def test_half_precision_runs(model):
    ids = play(copy.deepcopy(model).to(torch.bfloat16), (0, 1), temperature=1.0)
    assert all(len(said) == MESSAGES for said in ids.values())
