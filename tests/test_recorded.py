"""What the notebooks show of recorded runs."""

import json

import pytest

from mtsql_lib.recorded import NOTHING, curves_figure, ledger, ledger_figure, ledger_table

ENTRY = {"id": "T3", "claim": "RL adds to SFT", "statistic": "EX", "seeds": [1, 2], "paper": "+5.1"}
CLAIMS = [
    ENTRY | {"estimate": 4.25, "low": 1.5, "high": 7.0, "verdict": "shown"},
    ENTRY | {"id": "T4", "estimate": -2.0, "low": -3.0, "high": -1.0, "verdict": "contradicted"},
    ENTRY
    | {
        "id": "T7",
        "statistic": "a correlation",
        "estimate": 0.5,
        "low": 0.1,
        "high": 0.9,
        "verdict": "shown",
    },
    ENTRY | {"id": "T8", "estimate": None, "low": None, "high": None, "verdict": "not tested"},
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "claims.json").write_text(json.dumps(CLAIMS))
    curves = {
        "1": {"rl_outcome": {"reward": [[1, 0.2], [2, 0.4]]}, "rl_process": {}},
        "2": {"rl_outcome": {"reward": [[1, 0.4], [2, 0.8], [3, 0.9]]}},
    }
    (tmp_path / "curves.json").write_text(json.dumps(curves))
    return tmp_path


def test_an_empty_folder_says_what_fills_it(tmp_path):
    assert ledger(tmp_path) == [] and "make claims" in ledger_table([]) == NOTHING
    assert ledger_figure([]) is None and curves_figure("reward", ["rl_outcome"], "reward", tmp_path) is None


def test_the_table_has_every_claim_and_its_interval(folder):
    lines = ledger_table(ledger(folder)).splitlines()
    assert len(lines) == 2 + len(CLAIMS)
    assert "| T3 | RL adds to SFT | +4.2 [+1.5, +7.0] | shown | +5.1 |" in lines
    assert "| +0.50 [+0.10, +0.90] |" in lines[-2] and "| – | not tested |" in lines[-1]


def test_the_figure_draws_differences_only(folder):
    figure = ledger_figure(ledger(folder))
    assert figure.get_label() == "Estimates of the claims in points: T3 +4.2 (shown); T4 -2.0 (contradicted)."
    assert figure.axes[0].get_title(loc="left") == "1 shown, 1 contradicted, 0 not shown"


def test_curves_are_averaged_over_the_updates_that_all_seeds_have(folder):
    figure = curves_figure("reward", ["rl_outcome", "rl_process"], "mean reward", folder)
    mean = figure.axes[0].lines[-1]
    assert list(mean.get_xdata()) == [1, 2] and list(mean.get_ydata()) == pytest.approx([0.3, 0.6])
    assert figure.get_label() == "mean reward by update: rl_outcome ends at 0.60."
