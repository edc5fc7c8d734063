"""The vLLM engine against the transformers engine; runs only where vLLM is installed (CPU or GPU)."""

import os

import pytest

pytest.importorskip("vllm")
# one process and the model's own precision, so that the two engines can be compared
os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_CPU_KVCACHE_SPACE="1", HF_HUB_OFFLINE="1")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from transformers import Qwen3Config, Qwen3ForCausalLM  # noqa: E402

from mtsql_lib.engines import TransformersEngine, VLLMEngine  # noqa: E402

END, LIMIT, MESSAGES = 5, 12, 3


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    torch.manual_seed(3)
    config = Qwen3Config(
        vocab_size=96,
        hidden_size=128,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=64,  # vLLM's CPU kernels take no less
        max_position_embeddings=512,
        initializer_range=0.15,
    )
    model = Qwen3ForCausalLM(config).eval()
    folder = tmp_path_factory.mktemp("model")
    model.save_pretrained(folder)
    options = {"dtype": "float32", "enforce_eager": True, "max_model_len": 256, "max_num_seqs": 8}
    return VLLMEngine.load(str(folder), END, **options), TransformersEngine(model, END)


def play(engine, temperature, rows=(0, 1, 2, 3)):
    said = {row: [] for row in rows}
    with engine.session([50 + row for row in rows], temperature, 200) as session:
        for place, row in enumerate(rows):
            session.submit(place, [7 + row] * 20, LIMIT)
        while session.running:
            for message in session.advance():
                row = rows[message.row]
                said[row].append(message)
                if len(said[row]) == MESSAGES:
                    session.release(message.row)
                else:
                    session.submit(message.row, [9, 10 + row], LIMIT)
    return said


def test_greedy_messages_and_log_probabilities_agree(engines):
    vllm, transformers = (play(engine, 0.0) for engine in engines)
    for row in vllm:
        for ours, theirs in zip(vllm[row], transformers[row], strict=True):
            assert ours.ids == theirs.ids
            np.testing.assert_allclose(ours.logprobs, theirs.logprobs, atol=1e-4)


def test_samples_do_not_depend_on_the_batch_and_are_scored_at_temperature_one(engines):
    vllm, transformers = engines
    whole, part = play(vllm, 0.7), play(vllm, 0.7, rows=(3, 1))
    for row in part:
        assert [m.ids for m in part[row]] == [m.ids for m in whole[row]]
    first = whole[0][0]
    with torch.no_grad():
        logits = transformers.model(torch.tensor([[7] * 20 + list(first.ids)])).logits[0, 19:-1]
    expected = logits.log_softmax(-1).gather(1, torch.tensor(first.ids)[:, None])[:, 0]
    np.testing.assert_allclose(first.logprobs, expected.numpy(), atol=1e-4)


def test_messages_end_at_end_of_turn_or_at_the_limit(engines):
    messages = [m for said in play(engines[0], 1.0).values() for m in said]
    assert all(END not in m.ids[:-1] and (m.ids[-1] == END or len(m.ids) == LIMIT) for m in messages)


def test_a_session_left_early_leaves_nothing_behind(engines):
    vllm = engines[0]
    with vllm.session([1], 1.0, 100) as session:
        session.submit(0, [7] * 10, LIMIT)
    assert not vllm.llm.llm_engine.has_unfinished_requests()
