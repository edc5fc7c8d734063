"""The table of deviations names tests and files that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "deviations.md").read_text(encoding="utf-8")


def test_every_proof_is_a_test_of_the_rewards():
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    there = set(re.findall(r"^def (test_\w+)", (ROOT / "tests" / "test_rewards.py").read_text(), re.M))
    assert len(named) > 12 and named <= there, named - there


def test_every_row_has_the_columns_of_its_table():
    for table in re.findall(r"(?:^\|.*\n)+", PAGE, re.M):
        assert len({row.count("|") for row in table.splitlines()}) == 1, table.splitlines()[0]


def test_pages_link_to_files_that_exist():
    for page in ("deviations.md", "decisions.md"):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        links = re.findall(r"\]\(([\w./-]+)\)", text)
        assert links and all((ROOT / "docs" / link).is_file() for link in links)


def test_what_the_page_says_of_the_profiles_holds():
    from mtsql_lib.config import Profile

    limits = {name: Profile.load(name).rollout.message_limit for name in ("laptop", "smoke", "qwen3-4b")}
    assert limits == {"laptop": 6, "smoke": 6, "qwen3-4b": 4}
    assert Profile.load("laptop").rl.loss_type == "bnpo"
