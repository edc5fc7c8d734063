"""The plan of a query names its tables and columns, whatever the shape of the query."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtsql_lib.base.practice import world_scenes
from mtsql_lib.plans import plan, words

SQL = "count min max avg sum like from where group order limit".split()


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT count(*) FROM port", "port"),
        ("SELECT distance FROM route WHERE season = 'WINTER'", "route: distance, season"),
        ("SELECT max(fare), fare FROM route", "route: fare"),
        (
            "SELECT work.minutes FROM work JOIN programme ON programme.workID = work.workID"
            " WHERE work.period = 'modern' AND programme.place > 2",
            "work: minutes, period; programme: place",
        ),
        (
            "SELECT name FROM bird WHERE id IN (SELECT bird_id FROM glider WHERE kind = 'from') AND age > 3",
            "bird: name, id, age; glider: bird id, kind",
        ),
        (
            "SELECT industry, count(*) FROM sponsor GROUP BY industry HAVING count(*) > 2 UNION"
            " SELECT name FROM race ORDER BY name DESC LIMIT 3",
            "sponsor: industry; race: name",
        ),
        ("SELECT nothing", ""),
        ("this is no SQL (", ""),
        ("", ""),
    ],
)
def test_plans(sql, expected):
    assert plan(sql) == expected


def test_every_name_of_a_generated_query_but_its_join_keys_is_in_the_plan():
    for seed in range(40):
        for scene in world_scenes(random.Random(seed)):
            sql = re.sub(r"'(?:[^']|'')*'", "''", scene.question.gold)
            sql = re.sub(r" ON \S+ = \S+", "", sql)
            names = {c.name for t in scene.schema.tables for c in t.columns}
            names |= {t.name for t in scene.schema.tables}
            folded = {name.lower(): words(name) for name in names}
            said = plan(scene.question.gold)
            wanted = {folded[w.lower()] for w in re.findall(r"\w+", sql) if w.lower() in folded}
            missing = {name for name in wanted if name not in said and name not in SQL}
            assert not missing, scene.question.gold


@pytest.mark.parametrize(
    ("name", "spoken"),
    [("home_port", "home port"), ("HomePort", "home port"), ("ID", "id"), ("line2", "line 2")],
)
def test_names_as_words(name, spoken):
    assert words(name) == spoken


@given(st.text(max_size=80))
def test_any_text_has_a_plan(text):
    assert "\n" not in plan(text) or "\n" in text
