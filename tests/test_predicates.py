"""The template predicates hold for both sets, and each of them notices what it is there for."""

import re

import pytest

from mtsql_lib import environment
from mtsql_lib.predicates import STYLES, codec_faults, played, template_faults
from mtsql_lib.tokens import train_spelled_tokenizer


class Characters:
    """A codec of characters, with the chat markup as single tokens."""

    end_of_turn, pad, vocab_size = 0, 1, 0x110010

    def encode(self, text):
        parts = re.split(r"(<\|im_end\|>|<\|endoftext\|>)", text)
        known = {"<|im_end|>": [0], "<|endoftext|>": [1]}
        return [i for part in parts for i in known.get(part, [ord(c) + 2 for c in part])]

    def decode(self, ids):
        return "".join({0: "<|im_end|>", 1: "<|endoftext|>"}.get(i) or chr(i - 2) for i in ids)


class PadIsEnd(Characters):
    pad = 0


class Greedy(Characters):
    """Merges line breaks across pieces, as a byte-pair tokenizer may."""

    def encode(self, text):
        return super().encode(re.sub(r"\n\n|>\n", "\0", text))


class Forgetful(Characters):
    def decode(self, ids):
        return super().decode(ids).lower()


class Split(Characters):
    def encode(self, text):
        return [ord(c) + 2 for c in text]


@pytest.mark.parametrize("style", STYLES)
def test_both_sets_hold(style):
    assert template_faults(style) == []
    assert codec_faults(Characters(), style) == []


def test_the_spelled_codec_holds(tmp_path):
    texts = ["".join(text for text, _ in played(style).pieces()) for style in STYLES]
    codec = train_spelled_tokenizer(texts, 700, tmp_path)
    assert [codec_faults(codec, style) for style in STYLES] == [[], []]


@pytest.mark.parametrize(
    ("codec", "says"),
    [
        (PadIsEnd(), "pad token is the end-of-turn token"),
        (Greedy(), "encoded otherwise than its pieces"),
        (Forgetful(), "does not give back"),
        (Split(), "<|im_end|> is not one token"),
        (Split(), "does not end with its one end-of-turn token"),
    ],
)
def test_a_codec_that_breaks_a_promise_is_told(codec, says):
    assert any(says in fault for fault in codec_faults(codec, "compact"))


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("agent", "<|im_start|>user\n{question}\n<|im_start|>assistant\n", "alternate"),
        (
            "agent",
            "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n<think>",
            "exactly what the model",
        ),
        (
            "agent",
            "hello <|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n",
            "outside of turns",
        ),
        ("agent", "<|im_start|>user\n{{question}}<|im_end|>\n<|im_start|>assistant\n", "not filled"),
        ("exec_sql", "{result}<|im_end|>", "outside of turns"),
    ],
)
def test_a_broken_template_is_told(monkeypatch, name, text, says):
    whole = environment._template
    monkeypatch.setattr(environment, "_template", lambda style, n: text if n == name else whole(style, n))
    assert any(says in fault for fault in template_faults("compact"))


def test_a_generated_span_is_a_message_with_its_end_of_turn():
    generated = [text for text, by_model in played("full").pieces() if by_model]
    assert len(generated) == 5 and all(text.count("<|im_end|>") == 1 for text in generated)
    assert all(text.endswith("<|im_end|>") for text in generated)
