"""The first notebook plays its episode under other settings and on other spellings than the default's."""

import json
import re
from pathlib import Path

import pytest

CELLS = json.loads((Path(__file__).parent.parent / "notebooks/01_env.ipynb").read_text())["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]


def test_the_first_notebook_runs_at_the_papers_message_limit():
    names = {}
    for number, source in enumerate(CODE):
        exec(source, names)
        if number == 0:
            names |= {"PROFILE": "smoke", "OVERRIDES": '{"rollout.message_limit": 4, "threads": 1}'}
    assert names["episode"].stop == "answer" and names["run"].profile.rollout.message_limit == 4


@pytest.mark.parametrize(
    "gold",
    ['select name from Ferry where flag = "Blue Star"', "SELECT name FROM Ferry WHERE flag = 'Blue Star'"],
)
def test_the_first_notebook_reads_public_spellings(gold):
    value = re.search(r'VALUE = r"(.*)"\n', next(source for source in CODE if "VALUE = " in source))[1]
    assert re.search(value.replace('\\"', '"'), gold).groups() == ("flag", "Blue Star")
