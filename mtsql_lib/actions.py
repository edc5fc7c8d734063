"""An episode's messages as actions for `credit.per_action`: what each one did, and what it is paid for that.

A message may propose SQL, judge the result of the message before it, and judge the coherence with earlier
questions; a verdict that was due and is missing counts against the message that should have given it. The
scores are those of the `paper` reward, taken apart: the worst verdict of all messages is the episode's term,
and its propose term is the mean of the worst and the last proposal.
What was left out: the `released` reading, whose terms are means over the whole text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mtsql_lib.credit import Action
from mtsql_lib.environment import Episode
from mtsql_lib.rewards import (
    Agreement,
    RewardBreakdown,
    check_value,
    is_probe,
    result_kind,
    results_of,
    verdict_after,
    verdict_value,
)

if TYPE_CHECKING:
    from mtsql_lib.dialogues import Question
    from mtsql_lib.scoring import Judge


def actions(
    episode: Episode, question: Question, judge: Judge, pay: Callable[[RewardBreakdown], float]
) -> list[Action]:
    """One action a message. Its kind names the terms that it is scored on, joined by +, "" for none.

    Its score is what `pay` gives for these terms without an outcome; None where there are none.
    """
    found = []
    for step, terms in zip(episode.steps, message_terms(episode, question, judge), strict=True):
        kind = "+".join(sorted(terms))
        score = pay(RewardBreakdown(0.0, 0.0, **terms)) if terms else None
        found.append(Action(kind, score, len(step.ids)))
    return found


def message_terms(episode: Episode, question: Question, judge: Judge) -> list[dict[str, float]]:
    """For each message its terms among propose, execute and memory, each in [0, 1]: the worst of several."""
    agreement = Agreement(question, judge, "paper")
    most = agreement(episode.answer) if episode.answer else 0.0
    scores: list[dict[str, list[float]]] = [{} for _ in range(len(episode.steps) + 1)]
    for result in results_of(episode, "exec_sql"):
        if not is_probe(result.sql, episode.answer):
            judged = verdict_value(result_kind(result), verdict_after(episode, result, "exec", 1))
            scores[result.message].setdefault("propose", []).append(min(agreement(result.sql), most))
            scores[result.message + 1].setdefault("execute", []).append(judged)
    for result in results_of(episode, "memory_retrieve") if question.history else ():
        judged = check_value(agreement(result.sql), verdict_after(episode, result, "memory", 1))
        scores[result.message + 1].setdefault("memory", []).append(min(judged, most))
    # a verdict on the result of an episode's last message was due in none
    return [{term: min(values) for term, values in terms.items()} for terms in scores[:-1]]
