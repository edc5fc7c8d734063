"""The systems of the results table, and how each is played on a development set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from mtsql_lib.arms import ARMS
from mtsql_lib.play import Scored, Setting
from mtsql_lib.records import to_row
from mtsql_lib.run import Run, config_of, corpus_hash, development, play_through
from mtsql_lib.store import sha256_folder, stage

# The systems of the results table: how each plays, and which checkpoint it is.
SYSTEMS = {
    "direct": ("base", Setting(mode="direct")),
    "untrained": ("base", Setting()),
    "short_sft": ("sft_short", Setting(mode="direct")),
    "round1": ("sft_1", Setting()),
    "round2": ("sft_2", Setting()),
    "round3": ("sft_3", Setting()),
    "rl_outcome": ("rl_outcome", Setting()),
    "rl_process": ("rl_process", Setting()),
    "rl_process_4msg": ("rl_process", Setting(message_limit=4)),
    "rl_process_predicted": ("rl_process", Setting(history="predicted")),
}

# Further systems, which the takeaways are tested on (`claims.py`).
ABLATIONS = {
    "short_rl": ("rl_short", ARMS["rl_short"].setting),
    "no_execute": ("rl_no_execute", ARMS["rl_no_execute"].setting),
    "no_memory": ("rl_no_memory", ARMS["rl_no_memory"].setting),
    "no_curriculum": ("rl_no_curriculum", Setting()),
    "outcome_branch": ("rl_outcome_branch", Setting()),
    "process_all": ("rl_process_all", Setting()),
    "propose_only": ("rl_propose", Setting()),
    "verify_only": ("rl_verify", Setting()),
    "kl": ("rl_kl", Setting()),
}


def evaluate(run: Run, system: str, corpus: str) -> list[Scored]:
    """Play a system greedily on the development set of a corpus; the episodes lie in the store under
    `eval_<system>/<corpus>`. Those of a lower message limit are made of those that its checkpoint has played.
    """
    checkpoint, setting = (SYSTEMS | ABLATIONS)[system]
    name = f"eval_{system}/{corpus}"
    asked = development(run, corpus)
    inputs = {"model": sha256_folder(run.checkpoint(checkpoint)), "corpus": corpus_hash(run, corpus, "dev")}
    config = config_of(run, "evaluation", "rollout") | {"setting": asdict(setting)}
    with stage(run.folder, name, inputs=inputs, config=config, seed=run.profile.seed) as current:
        if setting.message_limit and not current.fresh:
            _cut_short(run, name, evaluate(run, checkpoint, corpus), setting.message_limit, corpus)
        quiet = current.fresh or setting.message_limit > 0  # nothing is left to be played
        scored = play_through(run, name, checkpoint, asked, setting, corpus, quiet=quiet)
        current.counts |= {
            "questions": len(scored),
            "answered": sum(s.episode.answer is not None for s in scored),
        }
        current.counts |= {"ex": sum(s.score.ex for s in scored), "em": sum(s.score.em for s in scored)}
    return scored


def _cut_short(run: Run, name: str, played: Sequence[Scored], limit: int, corpus: str) -> None:
    """Keep the episodes as they are under a lower message limit, judged anew."""
    table = run.table(corpus)
    cut = [table.scored(s.question, s.episode.within(limit)) for s in played]
    run.store.add_episodes(to_row(name, s) for s in cut)
