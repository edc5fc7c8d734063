"""Stage 2, reinforcement learning over a curriculum, arm by arm (`arms.py`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from mtsql_lib import credit, curriculum, sampling
from mtsql_lib.actions import actions
from mtsql_lib.arms import ARMS, PAY, Arm
from mtsql_lib.errors import KitError
from mtsql_lib.evaluation import in_trouble
from mtsql_lib.play import Player, Scored, Setting
from mtsql_lib.records import to_row
from mtsql_lib.rewards import RewardBreakdown
from mtsql_lib.rows import row_of
from mtsql_lib.run import Run, by_question, config_of, corpus_hash, digest_of, log_training, play_through
from mtsql_lib.scoring import Judge
from mtsql_lib.store import atomic_write, sha256_folder, stage


def measure_difficulty(run: Run) -> list[curriculum.Bin]:
    """Sample each training question with the warm-started model; drop what is always or never solved; easy to
    hard in bins.
    """
    rules, name = run.profile.curriculum, "difficulty"
    before = f"sft_{run.profile.sampling.rounds}"
    path = run.folder / name / "bins.json"
    inputs = {"model": sha256_folder(run.checkpoint(before)), "corpus": corpus_hash(run)}
    with stage(
        run.folder, name, inputs=inputs, config=config_of(run, "curriculum", "rollout"), seed=run.profile.seed
    ) as current:
        if not current.fresh:
            asked = sampling.draw_pool(run.pool, rules.questions, f"{run.profile.seed} {name}")
            setting = Setting(samples=rules.samples, temperature=rules.temperature)
            scored = play_through(run, name, before, [run.questions[i] for i in asked], setting)
            rates = {q: sum(s.valid for s in drawn) / len(drawn) for q, drawn in by_question(scored).items()}
            parts = curriculum.bins(rates, rules.bins)
            atomic_write(path, json.dumps([asdict(part) for part in parts]) + "\n")
            current.counts |= {"questions": len(rates), "always_solved": sum(r >= 1 for r in rates.values())}
            current.counts |= {"never_solved": sum(r <= 0 for r in rates.values())}
            current.counts |= {f"bin_{n + 1}": len(part.questions) for n, part in enumerate(parts)}
            current.produced(path)
    return [
        curriculum.Bin(tuple(part["questions"]), part["success"])
        for part in json.loads(path.read_text(encoding="utf-8"))
    ]


def reinforce(run: Run, name: str) -> Path:
    """Train an arm by GRPO; returns the checkpoint chosen on held-out training dialogues.

    A branch leaves the outcome arm at a kept checkpoint; its optimiser starts anew.
    """
    from mtsql_lib import training

    arm, rl = ARMS[name], run.profile.rl
    first = branch_step(run) if arm.branch else 0
    if arm.branch:
        start = run.folder / "rl_outcome" / "model" / f"step-{first:04d}"
    else:
        start = run.checkpoint(arm.start or f"sft_{run.profile.sampling.rounds}")
    order = _order(run, arm)[first * rl.prompts_per_step :]
    profile = run.profile if arm.beta < 0 else replace(run.profile, rl=replace(rl, beta=arm.beta))
    target = run.folder / name / "model"
    inputs = {"model": sha256_folder(start), "order": digest_of(order)}
    config = config_of(run, "rl", "rollout", "model") | {"arm": asdict(arm)}
    with stage(run.folder, name, inputs=inputs, config=config, seed=run.profile.seed) as current:
        if not current.fresh:
            training.reinforce(start, order, rollouts(run, name, first), profile, target)
            log_training(run, name, target, first)
            best = choose_checkpoint(run, name, target, first)
            atomic_write(run.folder / name / "chosen.json", json.dumps(best) + "\n")
            current.counts |= {"updates": len(order) // rl.prompts_per_step, "chosen": best["checkpoint"]}
            current.produced(target)
            current.produced(run.folder / name / "chosen.json")
    return run.checkpoint(name)


def branch_step(run: Run) -> int:
    """The update of the outcome arm after which the branches leave it, at a kept checkpoint."""
    rl = run.profile.rl
    return max(rl.save_every, int(sum(rl.steps_per_bin) * rl.process_from) // rl.save_every * rl.save_every)


def _order(run: Run, arm: Arm) -> list[str]:
    """The questions of every update; without a curriculum they are drawn from all bins alike."""
    rl, seed = run.profile.rl, f"{run.profile.seed} order"
    bins = measure_difficulty(run)
    if arm.curriculum:
        return curriculum.schedule(bins, rl.steps_per_bin, rl.prompts_per_step, seed)
    everything = curriculum.Bin(tuple(q for part in bins for q in part.questions), float("nan"))
    return curriculum.schedule([everything], [sum(rl.steps_per_bin)], rl.prompts_per_step, seed)


def rollouts(run: Run, name: str, first_step: int = 0):
    """The function that TRL's loop calls for the episodes of an update: play, score, turn into advantages,
    keep in the store.
    """
    from mtsql_lib.ledger import Played
    from mtsql_lib.rollout import check_tokens

    arm, rl, table = ARMS[name], run.profile.rl, run.table(run.profile.data.train)
    setting = replace(arm.setting, samples=rl.group_size, temperature=rl.temperature)

    def play(model, question_ids: Sequence[str], step: int) -> Played:
        player = Player(table, run.checkpoint("base"), model=model)
        asked = [run.questions[i] for i in question_ids]
        stream = int(digest_of([run.profile.seed, name, first_step + step])[:15], 16)
        scored = player.play_groups(asked, setting, stream)
        for s in scored:
            check_tokens(s.episode, player.codec)
        rewards, advantages = [], []
        for start in range(0, len(scored), rl.group_size):
            group = scored[start : start + rl.group_size]
            earned, shares = share_out(group, PAY[arm.pay], rl.credit, table.judge)
            rewards, advantages = rewards + earned, advantages + shares
        run.store.add_episodes(
            to_row(f"{name}/{first_step + step:04d}", s, sample=n) for n, s in enumerate(scored)
        )
        figures = _figures(scored, table.judge)
        print(_told(name, first_step + step, rewards, figures), flush=True)
        return Played([s.episode for s in scored], rewards, advantages, figures)

    return play


def share_out(
    group: Sequence[Scored], pay: Callable[[RewardBreakdown], float], how: str, judge: Judge
) -> tuple[list[float], list[list[float]]]:
    """The rewards of a group's episodes, and the advantages of their sampled tokens (ragged).

    `how` is `rl.credit`: released gives every token of an episode all that it is paid, per_action its
    outcome, and what is paid beyond that to the tokens of the message which earned it.
    """
    if how == "released":
        rewards = [pay(s.reward) for s in group]
        return rewards, credit.released(rewards, [sum(s.episode.mask()) for s in group])
    outcomes = [s.reward.outcome for s in group]
    return outcomes, credit.per_action(outcomes, [actions(s.episode, s.question, judge, pay) for s in group])


def choose_checkpoint(run: Run, name: str, target: Path, first_step: int = 0) -> dict:
    """The kept checkpoint with the highest EX + EM on held-out training dialogues (the later one of
    equals), and all scores. Every arm may choose among those after the branch, so that none has more to
    choose from.
    """
    scores = {}
    for folder in sorted(target.glob("step-*")):
        player = Player(run.table(run.profile.data.train), folder)
        scored = player.play(run.held_out, ARMS[name].setting, run.profile.seed)
        scores[folder.name] = sum(s.score.ex + s.score.em for s in scored) / len(scored)
        step = first_step + _number(folder.name)
        run.store.add_metrics(name, step, {"held_out": scores[folder.name]})
        found = f"{scores[folder.name]:.3f} (EX + EM) on {len(scored)} held-out training questions"
        print(f"{name}: {folder.name} scores {found}", flush=True)
    if not scores:
        raise KitError(f"{name} kept no checkpoint: rl.save_every is larger than its number of updates")
    late = [folder for folder in scores if first_step + _number(folder) > branch_step(run)]
    best = max(late or scores, key=lambda folder: (scores[folder], folder))
    return {"checkpoint": best, "scores": scores}


def _number(checkpoint: str) -> int:
    return int(checkpoint.split("-")[1])


def _figures(scored: Sequence[Scored], judge: Judge) -> dict[str, float]:
    """What the log says of an update's episodes; `recovered` only where some met trouble."""
    count = len(scored)
    trouble = [row for s in scored if in_trouble(row := row_of(s, judge))]
    figures = {
        "ex": sum(s.score.ex for s in scored) / count,
        "em": sum(s.score.em for s in scored) / count,
        "process": sum(s.reward.process for s in scored) / count,
        "calls": sum(len(s.episode.log) for s in scored) / count,
        "trouble": len(trouble) / count,
        "malformed": sum(s.episode.malformed for s in scored) / count,
    }
    return figures | ({"recovered": sum(row.ex for row in trouble) / len(trouble)} if trouble else {})


def _told(name: str, step: int, rewards: Sequence[float], figures: dict[str, float]) -> str:
    shown = ", ".join(f"{key} {figures[key]:.2f}" for key in ("ex", "calls", "recovered") if key in figures)
    return f"{name} step {step}: reward {sum(rewards) / len(rewards):.2f}, {shown}"
