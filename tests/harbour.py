"""A harbour of three ferries for the tests: two tables, a reference, a value stored otherwise than typed."""

import sqlite3
from pathlib import Path

from mtsql_lib.dialogues import Dialogue, Question, Turn, questions

SCRIPT = """
CREATE TABLE Port (Port_ID INTEGER PRIMARY KEY, Name TEXT);
CREATE TABLE Ferry (Ferry_ID INTEGER PRIMARY KEY, Name TEXT, Flag TEXT, built INTEGER,
                    home_port_id INTEGER REFERENCES Port(Port_ID));
INSERT INTO Port VALUES (1, 'Bergen'), (2, 'Umea');
INSERT INTO Ferry VALUES (1, 'Nordlys', 'NOR', 1994, 1), (2, 'Havskatt', 'SWE', 2001, 2),
                         (3, 'Ternen', 'NOR', 2010, 1);
"""
TURNS = (
    Turn("how many norwegian ferries are there?", "SELECT count(*) FROM Ferry WHERE Flag = 'NOR'"),
    Turn("what are their names?", "SELECT Name FROM Ferry WHERE Flag = 'NOR'"),
    Turn("only those built after 2000", "SELECT Name FROM Ferry WHERE Flag = 'NOR' AND built > 2000"),
)


def make_database(folder: Path, database_id: str = "harbour", script: str = SCRIPT) -> Path:
    """Write `<folder>/<id>/<id>.sqlite` and return the folder."""
    (folder / database_id).mkdir(parents=True)
    connection = sqlite3.connect(folder / database_id / f"{database_id}.sqlite")
    connection.executescript(script)
    connection.close()
    return folder


def harbour_questions(turns: tuple[Turn, ...] = TURNS) -> list[Question]:
    """The turns as questions of one dialogue, `d/0` first."""
    return questions([Dialogue("d", "harbour", turns)])
