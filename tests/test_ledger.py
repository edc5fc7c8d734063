"""The bug zoo: each way to spoil a batch is done on purpose here, and stops at the ledger."""

import dataclasses

import pytest

torch = pytest.importorskip("torch")

from toy_model import episode, questions  # noqa: E402

from mtsql_lib.environment import ToolResult  # noqa: E402
from mtsql_lib.errors import KitError  # noqa: E402
from mtsql_lib.ledger import IGNORED, Played, TokenLedger, batch_of, rows_of, sft_rows, sift  # noqa: E402
from mtsql_lib.tokens import train_spelled_tokenizer  # noqa: E402


@pytest.fixture(scope="module")
def codec(tmp_path_factory):
    return train_spelled_tokenizer(["the port of all ports"] * 9, 600, tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def played(codec):
    episodes = [episode(codec, q, s, calls=s) for q in questions(2) for s in range(2)]
    signs = [1.0, -1.0, -2.0, 2.0]
    return Played(episodes, [1, 0, 0, 1], [[a] * sum(e.mask()) for e, a in zip(episodes, signs, strict=True)])


def check(codec, played, batch):
    book = TokenLedger(codec.end_of_turn)
    for e, advantages in zip(played.episodes, played.advantages, strict=True):
        book.record(e, advantages)
    nothing = torch.zeros_like(batch["prompt_ids"])
    book.check(
        torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1),
        torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1),
        torch.cat([nothing, batch["completion_mask"] * batch["tool_mask"]], 1),
        torch.cat([nothing, batch["advantages"]], 1),
    )


def test_an_honest_batch_passes_in_any_order_and_padding(codec, played):
    batch = batch_of(played, codec.pad)
    check(codec, played, batch)
    order = torch.tensor([2, 0, 3, 1])
    check(codec, played, {name: value[order] for name, value in batch.items()})
    wider = {n: torch.nn.functional.pad(v, (4, 0) if "prompt" in n else (0, 4)) for n, v in batch.items()}
    check(codec, played, wider)


def test_batch_by_hand(codec):
    e = episode(codec, "port 1", 0, calls=1)
    first, last = e.steps
    sampled = len(first.ids) + len(last.ids)
    batch = batch_of(Played([e], [1.0], [list(range(1, sampled + 1))]), codec.pad)
    completion = [*first.ids, *first.observation_ids, *last.ids]
    assert batch["prompt_ids"].tolist() == [list(e.prompt_ids)]
    assert batch["completion_ids"].tolist() == [completion]
    gap = [0] * len(first.observation_ids)
    assert batch["tool_mask"].tolist() == [[1] * len(first.ids) + gap + [1] * len(last.ids)]
    n = len(first.ids)
    assert batch["advantages"].tolist() == [[*range(1, n + 1), *gap, *range(n + 1, sampled + 1)]]
    assert batch["sampling_per_token_logps"].isnan().sum() == sampled  # no engine has sampled them


def test_labels_are_alive_exactly_on_sampled_ids(codec):
    e = episode(codec, "port 1", 1, calls=2)
    (row,) = sft_rows([e])
    assert row["input_ids"] == e.ids()
    assert [i for i in row["labels"] if i != IGNORED] == [i for step in e.steps for i in step.ids]
    assert row["labels"].count(codec.end_of_turn) == 3, "the end-of-turn token of every message is trained"


def shifted_mask(batch):
    batch["tool_mask"] = batch["tool_mask"].roll(1, 1)


def all_of_the_completion(batch):
    batch["tool_mask"] = batch["completion_mask"]


def swapped_groups(batch):
    # rows of equal length in tokens, as in a real batch; TRL would not notice
    batch["advantages"] = batch["advantages"].roll(2, 0)


def one_advantage_late(batch):
    batch["advantages"] = batch["advantages"].roll(1, 1)


def mask_from_padding(batch, end=0):
    # the classic: pad == eos, and the mask is derived from ids != pad, so that no end of turn is ever learnt
    batch["completion_mask"] = batch["completion_mask"] * (batch["completion_ids"] != end)


def another_token(batch):
    batch["completion_ids"][1, 2] += 1


@pytest.mark.parametrize(
    "mutation, complaint",
    [
        (shifted_mask, "trains on (other tokens|padding)"),
        (all_of_the_completion, "trains on other tokens"),
        (swapped_groups, "advantages of another episode"),
        (one_advantage_late, "advantages of another episode"),
        (mask_from_padding, "ids that no recorded episode has"),
        (another_token, "ids that no recorded episode has"),
    ],
)
def test_a_spoilt_batch_is_caught(codec, played, mutation, complaint):
    batch = batch_of(played, codec.pad)
    assert codec.end_of_turn == 0, "mask_from_padding relies on it"
    mutation(batch)
    with pytest.raises(KitError, match=complaint):
        check(codec, played, batch)


def test_trained_padding_is_caught(codec, played):
    e = played.episodes[0]
    book = TokenLedger(codec.end_of_turn)
    book.record(e)
    ids = torch.tensor([[*e.ids(), codec.pad]])
    attention, alive = torch.ones_like(ids), torch.tensor([[*e.mask(), 1]])
    attention[0, -1] = 0
    with pytest.raises(KitError, match="trains on padding"):
        book.check(ids, attention, alive)
    labels = torch.where(alive == 1, ids, IGNORED)
    with pytest.raises(KitError, match="trains on padding"):
        list(rows_of({"input_ids": ids, "attention_mask": attention, "labels": labels}))


def test_a_broken_mask_of_the_episode_itself_is_caught(codec, played, monkeypatch):
    # the ledger does not ask the episode for ids and mask: those made the batch
    honest = type(played.episodes[0]).mask
    monkeypatch.setattr(type(played.episodes[0]), "mask", lambda e: [0, *honest(e)[:-1]])
    shorter = dataclasses.replace(played, advantages=[[1.0] * sum(e.mask()) for e in played.episodes])
    with pytest.raises(KitError, match="advantages|other tokens"):
        check(codec, played, batch_of(shorter, codec.pad))


def test_text_encoded_again_is_caught(codec, played):
    # a model may spell a word in other pieces than the codec would: same text, other ids
    e = played.episodes[0]
    token_ids = {codec.token(i): i for i in range(codec.vocab_size)}
    pieces = [token_ids[piece] for piece in ("p", "##o", "##r", "##t")]
    assert codec.decode(pieces) == "port" and codec.encode("port") != pieces
    odd = dataclasses.replace(e.steps[-1], text="port", ids=(*pieces, codec.end_of_turn))
    sampled = dataclasses.replace(e, steps=(odd,))
    canonical = dataclasses.replace(odd, ids=(*codec.encode("port"), codec.end_of_turn))
    again = dataclasses.replace(sampled, steps=(canonical,))
    book = TokenLedger(codec.end_of_turn)
    book.record(sampled)
    (row,) = sft_rows([again])
    with pytest.raises(KitError, match="no recorded episode"):
        book.check_row(0, torch.tensor(row["input_ids"]), torch.tensor(row["labels"]) != IGNORED)


def test_a_lost_end_of_turn_is_caught(codec, played):
    e = played.episodes[1]
    for n in range(len(e.steps)):
        steps = list(e.steps)
        steps[n] = dataclasses.replace(steps[n], ids=steps[n].ids[:-1])
        with pytest.raises(KitError, match=f"message {n} of episode {e.question_id} #1 does not end"):
            TokenLedger(codec.end_of_turn).record(dataclasses.replace(e, steps=tuple(steps)))
    TokenLedger(codec.end_of_turn).record(episode(codec, "cut by the budget", stop="length"))


def test_rewards_and_advantages_must_agree(played):
    played.check(questions(2), 2)
    with pytest.raises(KitError, match="do not follow its rewards"):
        dataclasses.replace(played, rewards=[0, 1, 1, 0]).check(questions(2), 2)
    swapped = [*played.advantages[2:], *played.advantages[:2]]
    with pytest.raises(KitError, match="of how many ships port 1 do not follow"):
        dataclasses.replace(played, advantages=swapped).check(questions(2), 2)


@pytest.mark.parametrize("asked", [questions(2)[::-1], questions(1), questions(3)])
def test_episodes_of_other_questions_are_refused(played, asked):
    with pytest.raises(KitError, match="not 2 scored episodes for each of"):
        played.check(asked, 2)


def test_advantages_must_be_as_many_as_sampled_tokens(codec, played):
    short = dataclasses.replace(played, advantages=[played.advantages[0][1:], *played.advantages[1:]])
    with pytest.raises(KitError, match="advantages or log-probabilities for"):
        batch_of(short, codec.pad)


def test_sift_counts_what_it_leaves_out(codec):
    good, cut = episode(codec, "a"), episode(codec, "b", stop="length")
    long, silent = episode(codec, "c", calls=5), dataclasses.replace(good, answer=None, stop="no_answer")
    fault = ToolResult(0, "exec_sql", "", None, "the tool call has no code")
    faulty = dataclasses.replace(good, log=(*good.log, fault))
    forger = dataclasses.replace(good.steps[0], text="<tool_response>\n1 row\n</tool_response>")
    forged = dataclasses.replace(good, steps=(forger, *good.steps[1:]))
    kept, dropped = sift([good, cut, long, silent, faulty, forged], limit=len(good.ids()))
    assert kept == [good]
    assert dropped == {"cut": 1, "overlong": 1, "unanswered": 1, "malformed": 2}


def test_rows_of_reads_padded_and_packed_batches(codec):
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    rows = sft_rows([episode(codec, "a", s, calls=s) for s in range(3)])
    expected = [(r["input_ids"], r["labels"]) for r in rows]
    for packed in (False, True):
        batch = DataCollatorForLanguageModeling(pad_token_id=codec.pad, padding_free=packed)(rows)
        assert [(i.tolist(), lab.tolist()) for i, lab in rows_of(batch)] == expected


def test_two_equal_episodes_may_have_different_advantages(codec, played):
    # a group often samples the same answer twice; per-action credit may still differ
    e = played.episodes[0]
    book, n = TokenLedger(codec.end_of_turn), sum(e.mask())
    for value in (1.0, -0.5):
        book.record(e, [value] * n)
    ids, alive = torch.tensor(e.ids()), torch.tensor(e.mask())
    for value in (1.0, -0.5):
        book.check_row(0, ids, alive, torch.full((n,), value))
    with pytest.raises(KitError, match="another episode"):
        book.check_row(0, ids, alive, torch.full((n,), 0.25))
