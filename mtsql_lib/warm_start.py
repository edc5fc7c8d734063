"""Stage 1, the self-taught warm start: sample, select, fine-tune, in rounds; the short-horizon baseline."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from mtsql_lib import sampling
from mtsql_lib.dialogues import Question
from mtsql_lib.environment import Episode, Step
from mtsql_lib.errors import KitError
from mtsql_lib.plans import plan
from mtsql_lib.play import Player, Setting
from mtsql_lib.protocol import END_OF_TURN, compose
from mtsql_lib.run import Run, by_question, config_of, corpus_hash, digest_of, log_training, play_through
from mtsql_lib.schema import fold_names
from mtsql_lib.store import atomic_write, sha256_file, sha256_folder, stage


def sample_round(run: Run, number: int) -> sampling.RoundCounts:
    """Sample a round of Algorithm 1 with the checkpoint of the round before, and select what to train on."""
    rules = run.profile.sampling
    name, before = f"sample_{number}", "base" if number == 1 else f"sft_{number - 1}"
    inputs = {"model": sha256_folder(run.checkpoint(before)), "corpus": corpus_hash(run)}
    if number > 1:
        inputs["pool"] = sha256_file(run.folder / f"sample_{number - 1}" / "kept.json")
    kept_path = run.folder / name / "kept.json"
    with stage(
        run.folder, name, inputs=inputs, config=config_of(run, "sampling", "rollout"), seed=run.profile.seed
    ) as current:
        if not current.fresh:
            pool = run.pool if number == 1 else _kept(run, number - 1)["pool"]
            asked = sampling.draw_pool(pool, rules.questions, f"{run.profile.seed} {name}")
            setting = Setting(samples=rules.samples, temperature=rules.temperature)
            scored = play_through(run, name, before, [run.questions[i] for i in asked], setting)
            samples = by_question(scored)
            hardness = {s.question.id: s.score.hardness for s in scored}
            wanted = {"keep_easy": rules.keep_easy, "keep_hard": rules.keep_hard}
            kept, counts = sampling.select(samples, hardness.get, by_difficulty=rules.by_difficulty, **wanted)
            record = {
                "kept": [[e.question_id, e.sample] for e in kept],
                "counts": asdict(counts),
                "pool": sampling.unsolved(pool, samples),
                "successes": {q: sum(s.valid for s in drawn) for q, drawn in samples.items()},
            }
            atomic_write(kept_path, json.dumps(record) + "\n")
            current.counts |= record["counts"] | {"pool_left": len(record["pool"])}
            current.produced(kept_path)
    return sampling.RoundCounts(**_kept(run, number)["counts"])


def warm_start(run: Run, number: int) -> Path:
    """Fine-tune the checkpoint of the round before on the trajectories kept in all rounds so far."""
    before = "base" if number == 1 else f"sft_{number - 1}"
    episodes = [e for n in range(1, number + 1) for e in kept_episodes(run, n)]
    if not episodes:
        raise KitError(
            f"no trajectory was kept up to round {number}: the base solves none of the sampled questions; "
            "sample more (sampling.questions, sampling.samples) or train the base longer (make base)"
        )
    from mtsql_lib.rollout import check_tokens
    from mtsql_lib.tokens import load_codec

    codec = load_codec(run.checkpoint("base"))
    for episode in episodes:
        check_tokens(episode, codec)
    return _finetune(run, f"sft_{number}", before, episodes)


def kept_episodes(run: Run, number: int) -> list[Episode]:
    """The trajectories that a round's selection kept."""
    wanted = {(q, s) for q, s in _kept(run, number)["kept"]}
    rows = run.store.episodes(f"sample_{number}")
    return [
        Episode.from_json(row["episode"]) for row in rows if (row["question_id"], row["sample"]) in wanted
    ]


def successes(run: Run, number: int) -> dict[str, int]:
    """Valid samples of each question of a round."""
    return _kept(run, number)["successes"]


def short_horizon(run: Run) -> Path:
    """The short-horizon baseline: the base fine-tuned to answer at once, on the gold SQL of as many
    questions as the warm start has sampled.
    """
    count = run.profile.sampling.questions * run.profile.sampling.rounds
    asked = [run.questions[i] for i in (run.pool[:count] if count else run.pool)]
    player = run.player("base")
    return _finetune(run, "sft_short", "base", [gold_answer(player, q) for q in asked])


def gold_answer(player: Player, question: Question) -> Episode:
    """The gold SQL as a direct answer; with compact prompts in their spelling, and planned, as the tiny
    model writes.
    """
    environment = player.table.environment(question, Setting(mode="direct"))
    text = compose(answer=question.gold)
    if player.table.profile.rollout.templates == "compact":
        folded = fold_names(question.gold)
        text = compose(think=plan(folded), answer=folded)
    environment.step(text)
    prompt = tuple(player.codec.encode(environment.prompt))
    return environment.episode(0, prompt, (Step(text, tuple(player.codec.encode(text + END_OF_TURN))),))


def _finetune(run: Run, name: str, before: str, episodes: list[Episode]) -> Path:
    from mtsql_lib.training import finetune

    target = run.folder / name / "model"
    inputs = {"model": sha256_folder(run.checkpoint(before)), "episodes": digest_of(episodes)}
    with stage(
        run.folder, name, inputs=inputs, config=config_of(run, "sft", "model"), seed=run.profile.seed
    ) as current:
        if not current.fresh:
            print(f"{name}: fine-tuning on {len(episodes)} trajectories", flush=True)
            finetune(run.checkpoint(before), episodes, run.profile, target)
            log_training(run, name, target)
            current.counts |= {"trajectories": len(episodes), "tokens": sum(len(e.ids()) for e in episodes)}
            current.produced(target)
    return target


def _kept(run: Run, number: int) -> dict:
    return json.loads((run.folder / f"sample_{number}" / "kept.json").read_text(encoding="utf-8"))
