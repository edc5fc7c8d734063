"""The report's sections: results in, text, tables and figures out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mtsql_lib import plots
from mtsql_lib.document import Grid, Picture, Section
from mtsql_lib.evaluation import (
    ENOUGH,
    Measure,
    Part,
    abilities,
    per_cause,
    per_hardness,
    per_turn,
    recovery,
    summary,
)
from mtsql_lib.results import SYSTEMS, Results, Tested
from mtsql_lib.rows import Row

_NAMED = 12  # ids that a table names before it counts


def sections(results: Results, tested: Sequence[Tested], databases: Mapping[str, Any]) -> list[Section]:
    """All sections in order."""
    return [
        _what(results, databases),
        _claims(results, tested),
        *(_table_two(results, corpus) for corpus in results.corpora),
        _ablations(results),
        _split(results, "Per turn", per_turn, plots.ex_per_turn),
        _split(results, "Per hardness", per_hardness, plots.ex_per_hardness),
        _split(results, "Per cause of failure", per_cause, None),
        _measured(results, "Long-horizon abilities", abilities, plots.ability_metrics, _ABILITIES),
        _measured(results, "Recovery", recovery, plots.recovery_bars, _RECOVERY),
        _training(results),
        _strict(results),
        _failed(results),
        _cost(results),
    ]


def _what(results: Results, databases: Mapping[str, Any]) -> Section:
    profile = results.run.profile
    fields = {
        "profile": profile.name,
        "seed": profile.seed,
        "train": profile.data.train,
        "test": ", ".join(f"`{c}` ({results.domain(c)})" for c in results.corpora),
        "messages": profile.rollout.message_limit,
        **databases,
        "hash": databases["sha256"][:16],
        "enough": ENOUGH,
    }
    return Section("What was measured", [" ".join(text.format(**fields).split()) for text in _WHAT])


_WHAT = (
    """Profile `{profile}`, seed {seed}, trained on `{train}`; development sets: {test}. Greedy decoding,
    gold history, at most {messages} messages, unless a row says otherwise.""",
    """EX is {metric} on `{folder}` (databases used: {databases}, sha256 {hash}), EM exact set match, both
    by the official evaluator's rules; strict verdicts stand beside them below. Answers are read as in the
    paper: only an `<answer_sql>` is an answer, an episode without one is wrong. QM is question match, IM
    interaction match (every question of a dialogue). A question whose gold query fails is in no share; it
    is named below.""",
    """Brackets are 95 % intervals from a bootstrap over dialogues. A claim whose interval contains 0 is not
    shown, and neither is one from fewer than {enough} dialogues. There is no correction for the number of
    claims.""",
)


def _claims(results: Results, tested: Sequence[Tested]) -> Section:
    rows = []
    for t in tested:
        found = t.found
        figures = (
            (str(found.questions), f"{found.first:.1f}", f"{found.second:.1f}", str(found.interval))
            if found
            else ("0", "–", "–", "–")
        )
        rows.append((t.plan.claim, f"{t.corpus}, {results.domain(t.corpus)}", *figures, t.verdict))
    columns = ("claim", "corpus", "cases", "first", "second", "difference, points", "verdict")
    note = "EX on the same questions, second minus first; for recovery the first figure is the bound."
    return Section("What is shown and what is not", (Grid(columns, rows, note),))


def _table_two(results: Results, corpus: str) -> Section:
    rows = [_scores(results, name, corpus) for name, system in SYSTEMS.items() if not system.ablation]
    columns = ("system", "EX (QM)", "EM (QM)", "IM by EX", "IM by EM", "questions", "paper, EX / EM")
    note = "Paper: Qwen3-1.7B (MTSQL-R1, Table 2) on the corpus of the same kind; levels do not compare."
    return Section(f"{corpus}: {results.domain(corpus)}", (Grid(columns, rows, note),))


def _scores(results: Results, name: str, corpus: str) -> tuple[str, ...]:
    title, paper = SYSTEMS[name].title, results.paper(name, corpus)
    rows = results.systems.get((name, corpus))
    if not rows:
        return (title, *["not run"] * 5, paper)
    s = summary(rows)
    intervals = (s.ex.question, s.em.question, s.ex.interaction, s.em.interaction)
    return (title, *map(str, intervals), f"{s.executed} of {s.questions}", paper)


def _ablations(results: Results) -> Section:
    names = ["rl_process", *(name for name, system in SYSTEMS.items() if system.ablation)]
    rows = [
        (*_scores(results, name, corpus)[:-1], f"{corpus}, {results.domain(corpus)}")
        for corpus in results.corpora
        for name in names
    ]
    columns = ("system", "EX (QM)", "EM (QM)", "IM by EX", "IM by EM", "questions", "corpus")
    return Section("Message limit and predicted history", (Grid(columns, rows),))


def _split(
    results: Results, title: str, split: Callable[[Sequence[Row]], list[Part]], draw: Callable | None
) -> Section:
    parts: list[str | Grid | Picture] = []
    for corpus in results.corpora:
        found = {name: split(rows) for name, rows in results.on(corpus).items()}
        order = list(dict.fromkeys(p.name for ps in found.values() for p in ps))
        counts = {p.name: p.questions for ps in found.values() for p in ps}
        rows = [
            (name, *(_ex(next((p for p in ps if p.name == part), None)) for part in order))
            for name, ps in found.items()
        ]
        parts.append(Grid((f"EX, {corpus}", *(f"{part} (n={counts[part]})" for part in order)), rows))
        parts += _drawn(draw, results, corpus)
    return Section(title, parts)


def _ex(part: Part | None) -> str:
    return str(part.ex) if part else "–"


_ABILITIES = """Definitions (the paper prints none): calls, the share of episodes with at least one call,
for the memory on second and later turns; execute-verify, the share of verdicts on a result that fit it
(no_pass after an error or an unexpected empty result, else pass); memory-verify, the share of verdicts on a
memory check that fit (pass exactly if the SQL is right); proposal agreement, clause F1 with gold over all
proposals; correction gain, last minus first proposal, in points. A verdict that was not given is no
case."""
_RECOVERY = """Of the episodes that met an error (a query was refused or broke off), or a proposal without
rows where gold returns some, the share that ends with EX."""


def _measured(
    results: Results, title: str, measure: Callable[[Sequence[Row]], list[Measure]], draw, text: str
):
    parts: list[str | Grid | Picture] = [" ".join(text.split())]
    for corpus in results.corpora:
        systems = _agents(results, corpus)
        if not systems:
            continue
        found = {name: measure(rows) for name, rows in systems.items()}
        names = [m.name for m in next(iter(found.values()))]
        rows = [
            (name, *(f"{m.interval} (n={m.cases})" if m.interval else "no case" for m in measures))
            for name, measures in found.items()
        ]
        parts.append(Grid((f"per cent, {corpus}", *names), rows))
        parts += _drawn(draw, results, corpus, systems)
    return Section(title, parts)


def _agents(results: Results, corpus: str, ablations: bool = True) -> dict[str, list[Row]]:
    systems = results.on(corpus, ablations=ablations)
    return {name: rows for name, rows in systems.items() if any(r.mode == "agent" for r in rows)}


def _drawn(draw: Callable | None, results: Results, corpus: str, systems: Any = None) -> Iterator[Picture]:
    """The figure of the corpus with its main systems: rounds 1 and 2 and the ablations would crowd it."""
    if draw:
        crowd = {SYSTEMS[name].title for name in ("round1", "round2")}
        main = {SYSTEMS[n].title for n in SYSTEMS if not SYSTEMS[n].ablation} - crowd
        chosen = {name: rows for name, rows in (systems or results.on(corpus)).items() if name in main}
        if chosen:
            yield picture(draw(chosen), corpus)


def picture(figure, corpus: str = "") -> Picture:
    """A figure for the document."""
    return Picture(plots.svg(figure), f"{corpus}: {figure.get_label()}" if corpus else figure.get_label())


def _training(results: Results) -> Section:
    """The curves of the training stages that left any."""
    store, rl = results.run.store, results.run.profile.rl
    rounds = range(1, results.run.profile.sampling.rounds + 1)
    losses = {f"round {n}": store.metrics(f"sft_{n}", "loss") for n in rounds}
    held_out = {arm: store.metrics(arm, "held_out") for arm in ("rl_outcome", "rl_process")}
    rewards, lengths = (store.metrics("rl_outcome", name) for name in ("reward", "sampled_tokens"))
    figures = (
        plots.loss_curve(losses) if any(losses.values()) else None,
        plots.reward_per_bin(rewards, rl.steps_per_bin) if rewards else None,
        plots.response_length(lengths) if lengths else None,
        plots.held_out_scores(held_out) if any(held_out.values()) else None,
    )
    return Section("Training", [picture(f) for f in figures if f] or ["No training curves are in this run."])


def _strict(results: Results) -> Section:
    rows = []
    for corpus in results.corpora:
        for name, found in results.on(corpus, ablations=True).items():
            s = summary(found)
            shares = (s.ex.question, s.ex_strict.question, s.em.question, s.em_strict.question)
            rows.append((f"{name}, {corpus}", *(f"{i.estimate:.1f}" for i in shares), _named(s.differ)))
    columns = ("system", "EX", "EX strict", "EM", "EM strict", "questions where they differ")
    note = "Strict: order and duplicates count, two empty results prove nothing, values count in EM."
    return Section("Official and strict verdicts", (Grid(columns, rows, note),))


def _named(ids: Sequence[str]) -> str:
    rest = f" and {len(ids) - _NAMED} more (report.json)" if len(ids) > _NAMED else ""
    return f"{len(ids)}: {', '.join(ids[:_NAMED])}{rest}" if ids else "0"


def _failed(results: Results) -> Section:
    rows = [
        (f"{SYSTEMS[name].title}, {corpus}", row.question_id, row.reason)
        for (name, corpus), found in results.systems.items()
        for row in found
        if row.reason
    ]
    missing = [(f"{SYSTEMS[name].title}, {corpus}", "all", "not run") for name, corpus in results.missing]
    if not rows and not missing:
        return Section(
            "Failed and missing", ("Every system answered every question, and every gold query runs.",)
        )
    return Section("Failed and missing", (Grid(("system", "question", "reason"), [*missing, *rows]),))


def _cost(results: Results) -> Section:
    rows = [
        (s.name, f"{s.seconds:.1f}", f"{s.peak_mb:,}", f"{s.episodes:,}", f"{s.tokens:,}")
        for s in results.stages
    ]
    seconds, episodes, tokens = (
        sum(getattr(s, name) for s in results.stages) for name in ("seconds", "episodes", "tokens")
    )
    peak = max((s.peak_mb for s in results.stages), default=0)
    rows.append(("all stages", f"{seconds:.1f}", f"{peak:,}", f"{episodes:,}", f"{tokens:,}"))
    note = """Wall seconds of the sitting that finished the stage; the largest memory of its process up to
    then; tokens sampled, in fine-tuning trained on."""
    columns = ("stage", "seconds", "peak memory, MB", "episodes", "tokens")
    return Section("Cost", (Grid(columns, rows, " ".join(note.split())),))
