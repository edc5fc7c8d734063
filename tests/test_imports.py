"""The import rule: what says "no" torch is light, to be taught, tested and exported without the rest."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parent.parent / "mtsql_lib"
HEAVY = {
    "base.copying",
    "base.model",
    "base.muon",
    "base.packing",
    "base.pretrain",
    "engines",
    "kv_cache",
    "ledger",
    "rollout",
    "shared_prefix",
    "trainer",
    "training",
}
FORBIDDEN = ["torch", "transformers", "trl", "peft", "accelerate", "datasets"]

WALK = """
import json, sys
from importlib import import_module
*modules, forbidden = sys.argv[1:]
found = {}
for name in modules:
    import_module(f"mtsql_lib.{name}")
    for package in set(json.loads(forbidden)) & sys.modules.keys():
        found.setdefault(package, name)
print(json.dumps(found))
"""


def loaded_by(modules, packages):
    """Which module was the first to load each of the packages, in a fresh interpreter."""
    command = [sys.executable, "-c", WALK, *modules, json.dumps(packages)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=LIBRARY.parent)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_no_light_module_loads_a_heavy_package():
    modules = {
        ".".join(path.relative_to(LIBRARY).with_suffix("").parts)
        for path in LIBRARY.rglob("*.py")
        if path.stem != "__init__"
    }
    light = sorted(modules - HEAVY)
    assert len(light) > 20
    assert loaded_by(light, FORBIDDEN) == {}


@pytest.mark.slow
def test_the_walk_finds_a_heavy_module():
    assert loaded_by(["errors", "base.muon"], ["torch"]) == {"torch": "base.muon"}


def test_every_heavy_module_is_there():
    assert [name for name in sorted(HEAVY) if not (LIBRARY / f"{name.replace('.', '/')}.py").is_file()] == []


def test_scoring_starts_without_what_it_does_not_need():
    slow = ["numpy", "pandas", "sqlite_utils", "matplotlib", "papermill", "asyncio", "multiprocessing"]
    assert loaded_by(["__main__", "scoring"], slow) == {}
