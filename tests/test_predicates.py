"""The template predicates hold for both sets, and each of them notices what it is there for."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from mtsql_lib import environment
from mtsql_lib.predicates import (
    STYLES,
    Rendered,
    chat_growth,
    chat_template_faults,
    codec_faults,
    growth,
    growth_faults,
    played,
    template_faults,
)
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


# --- the three promises: prefix-preserving, generation markers, stop token inside the trained span ---

PREFIX, MARKERS, STOP = "not prefix-preserving", "are marked as generated", "would not learn to stop"

MARKED = """{%- for m in messages -%}
<|im_start|>{{ m.role }}
{% if m.role == "assistant" %}{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}
{%- else %}{{ m.content }}<|im_end|>{% endif %}
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def qwen3(name):
    """Qwen3's chat template and its variant for training, as TRL ships them to recognise the model."""
    return (Path(find_spec("trl").origin).parent / "chat_templates" / f"{name}.jinja").read_text()


def told(faults):
    return [says for says in (PREFIX, MARKERS, STOP) if any(says in fault for fault in faults)]


def test_our_templates_hold_the_three_promises():
    for style in STYLES:
        episode = played(style)
        stages = growth(episode)
        assert growth_faults(stages, [message for message, _ in episode.exchanges]) == []
        assert stages[-1].words() == [message + "<|im_end|>" for message, _ in episode.exchanges]


@pytest.mark.slow
def test_qwen3_as_published_breaks_the_first_two():
    stock = qwen3("qwen3")
    assert told(chat_template_faults(stock)) == [PREFIX, MARKERS]
    thoughts = [stage.text.count("count them") for stage in chat_growth(stock)]
    assert thoughts == [0, 1, 1, 1, 1, 1, 0, 0], "the thoughts on a question are dropped with the next one"


@pytest.mark.slow
def test_qwen3_for_training_holds_all_three():
    assert chat_template_faults(qwen3("qwen3_training")) == []
    assert chat_template_faults(MARKED) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("there", "instead", "promises"),
    [
        (
            "{{ m.content }}<|im_end|>{% endgen",
            "{{ m.content.split('</think>')[-1] }}<|im_end|>{% endgen",
            [],
        ),
        (
            "{{ m.content }}<|im_end|>{% endgen",
            "{{ m.content if loop.last }}<|im_end|>{% endgen",
            [PREFIX, MARKERS],
        ),
        ("<|im_start|>{{ m.role }}", "{{ messages|length }}<|im_start|>{{ m.role }}", [PREFIX]),
        ("{% generation %}", "", [MARKERS]),
        ('m.role == "assistant"', "loop.last", [PREFIX, MARKERS]),
        ("<|im_end|>{% endgeneration %}", "{% endgeneration %}<|im_end|>", [STOP]),
        (
            "{{ m.content }}<|im_end|>{% endgeneration %}",
            "{% endgeneration %}{{ m.content }}<|im_end|>",
            [MARKERS, STOP],
        ),
    ],
)
def test_a_chat_template_that_breaks_a_promise_is_told(there, instead, promises):
    assert there in MARKED
    broken = MARKED.replace(there, instead)
    if "{% generation" not in broken:
        broken = broken.replace("{% endgeneration %}", "")
    assert told(chat_template_faults(broken)) == promises


def test_broken_growth_is_told():
    prompt, whole = Rendered("u:", ()), Rendered("u:hello<|im_end|>", ((2, 17),))
    assert told(growth_faults([prompt, whole], ["hello"])) == []
    assert told(growth_faults([Rendered("U:", ()), whole], ["hello"])) == [PREFIX]
    assert told(growth_faults([prompt, Rendered(whole.text, ((1, 6),))], ["hello"])) == [MARKERS, STOP]
    assert told(growth_faults([prompt, Rendered(whole.text, ((2, 7),))], ["hello"])) == [STOP]
    assert told(growth_faults([prompt, Rendered(whole.text, ())], ["hello"])) == [MARKERS]
    assert told(growth_faults([whole, Rendered(whole.text + "!", ((0, 17),))], ["hello"])) == [PREFIX]


@pytest.mark.slow
def test_the_full_set_is_what_qwen3_renders_but_for_thoughts():
    from transformers.utils.chat_template_utils import render_jinja_template

    episode = "".join(text for text, _ in played("full").pieces()[:-1])  # up to the last generation prompt
    bare = re.sub(r"<think>.*?</think>\n*", "", episode, flags=re.DOTALL)
    turns = re.findall(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>", bare, re.DOTALL)
    messages = [{"role": role, "content": content} for role, content in turns]
    (text,), _ = render_jinja_template([messages], chat_template=qwen3("qwen3"), add_generation_prompt=True)
    assert text == bare
