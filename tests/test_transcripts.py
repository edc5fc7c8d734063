"""The scripted agent: a skilled one ends right, a weak one often does not, and mistakes are no lessons."""

import random
from dataclasses import replace
from pathlib import Path

from mtsql_lib.base.practice import world_scenes
from mtsql_lib.base.transcripts import SKILLED, WEAK, Line, agent_transcript, direct_transcript
from mtsql_lib.plans import plan
from mtsql_lib.protocol import compose, parse_message
from mtsql_lib.tokens import load_codec


def drawn(seeds):
    return [scene for seed in seeds for scene in world_scenes(random.Random(seed))]


def messages(lines):
    """The agent's messages, each in one piece with the least of its weights."""
    found, begun = [], []
    for line in lines:
        if line.text.startswith("\n<|im_start|>"):
            continue
        begun.append(line)
        if line.text.endswith("<|im_end|>"):
            found.append(Line("".join(p.text for p in begun), min(p.weight for p in begun)))
            begun = []
    return found


def final_answer(lines):
    return parse_message(messages(lines)[-1].text).answer


def test_a_direct_transcript_is_the_gold_answer():
    for scene in drawn(range(5)):
        (line,) = direct_transcript(scene, SKILLED)
        assert f"<think>{plan(scene.question.gold)}</think>" in line.text
        assert final_answer([line]) == " ".join(scene.question.gold.split()) and line.weight == 1


def test_the_skilled_agent_mostly_ends_with_gold_and_the_weak_one_does_not():
    scenes = drawn(range(60))

    def share(habits):
        rng = random.Random(3)
        return sum(final_answer(agent_transcript(s, rng, habits)) == s.question.gold for s in scenes) / len(
            scenes
        )

    assert share(SKILLED) > 0.8
    assert share(WEAK) < share(SKILLED) - 0.1


def test_a_wrong_proposal_has_no_weight_and_what_the_tools_say_has_none():
    rng = random.Random(5)
    for scene in drawn(range(40)):
        lines = agent_transcript(scene, rng, replace(SKILLED, repair=1.0))
        assert not any(line.weight for line in lines if line.text.startswith("\n<|im_start|>user"))
        for line in messages(lines):
            calls = parse_message(line.text).calls
            if line.weight and calls and calls[0].tool == "exec_sql":
                assert calls[0].code == scene.question.gold or "DISTINCT" in calls[0].code


def test_what_the_model_said_up_to_a_failure_is_context_and_then_repaired():
    scene = next(s for s in drawn(range(5)))
    wrong = compose(think="nowhere", call=("exec_sql", "SELECT no_such_column FROM nowhere"))
    unclosed = "<tool_call>\nnonsense"
    for own in ((wrong,), (wrong, wrong), (unclosed, wrong, wrong)):
        lines = agent_transcript(scene, random.Random(0), replace(SKILLED, repair=1.0), own)
        said = messages(lines)
        assert [line.text.removesuffix("<|im_end|>") for line in said[: len(own)]] == list(own)
        assert not any(line.weight for line in said[: len(own)])
        assert final_answer(lines) == scene.question.gold


def test_a_misnamed_query_fails_and_its_repair_is_the_lesson():
    rng = random.Random(1)
    habits = replace(SKILLED, misname=1.0, repair=1.0, look_first=0.0)
    failed = 0
    for scene in drawn(range(20)):
        lines = agent_transcript(scene, rng, habits)
        first = parse_message(messages(lines)[0].text).calls[0].code
        if first != scene.question.gold:
            failed += 1
            assert scene.executor.execute("", first).kind != "rows" and messages(lines)[0].weight == 0
            assert final_answer(lines) == scene.question.gold
    assert failed > 40


def test_the_pieces_of_a_message_have_the_ids_of_the_whole():
    codec = load_codec(Path(__file__).parent.parent / "data/models/tiny")
    rng = random.Random(2)
    split = 0
    for scene in drawn(range(10)):
        lines = agent_transcript(scene, rng, replace(SKILLED, misname=1.0, repair=1.0))
        for thought, rest in zip(lines, lines[1:], strict=False):
            if thought.weight > 1:
                split += 1
                pieces = [*codec.encode(thought.text), *codec.encode(rest.text)]
                assert pieces == list(codec.encode(thought.text + rest.text))
    assert split > 10
