"""Run the stages in notebooks, as plain function calls, and killed with -9 again and again in sampling, in
fine-tuning and in reinforcement learning: every stage's hashes must be those of the undisturbed notebooks.
Minutes to an hour, so it is no part of `make test`:

    .venv/bin/python tests/endurance.py --profile smoke --kills 10
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
KINDS = {"sampling": "sample_", "SFT": "sft_", "RL": "rl_"}
PLAIN = """
from mtsql_lib.reinforcement import measure_difficulty, reinforce
from mtsql_lib.run import open_run
from mtsql_lib.systems import SYSTEMS, evaluate
from mtsql_lib.warm_start import sample_round, short_horizon, warm_start

def plain(profile, seed):
    run = open_run(profile, seed)
    for number in range(1, run.profile.sampling.rounds + 1):
        sample_round(run, number)
        warm_start(run, number)
    short_horizon(run)
    measure_difficulty(run)
    for arm in ("rl_outcome", "rl_process"):
        reinforce(run, arm)
    for system in SYSTEMS:
        for corpus in run.profile.data.test:
            evaluate(run, system, corpus)
"""


def main() -> int:
    """Run all three ways; exit code 1 if a hash differs or a kind was killed too seldom."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="smoke")
    parser.add_argument("--kills", type=int, default=10, help="kills for each kind of stage")
    parser.add_argument("--seed", type=int, default=9, help="seed of the run and of the moments")
    args = parser.parse_args()
    command = [sys.executable, "-m", "mtsql_lib", "reproduce", "--profile", args.profile]
    command += ["--seed", str(args.seed)]
    folder = ROOT / "runs" / f"{args.profile}-{args.seed}"
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(command, cwd=ROOT, check=True)
    wanted = hashes(folder)
    shutil.rmtree(folder)
    subprocess.run([sys.executable, "-c", f"{PLAIN}\nplain{args.profile, args.seed}"], cwd=ROOT, check=True)
    plain = compared(wanted, hashes(folder), "as plain calls")
    shutil.rmtree(folder)
    kills = disturbed(command, folder, args.kills, random.Random(args.seed))
    killed = compared(wanted, hashes(folder), f"killed {dict(kills)}")
    return int(bool(plain or killed) or min(kills[kind] for kind in KINDS) < args.kills)


def compared(wanted: dict[str, tuple], found: dict[str, tuple], way: str) -> list[str]:
    """The stages that came out differently; says so."""
    different = [name for name in wanted if wanted[name] != found.get(name)]
    print(f"{way}: {len(wanted)} stages, {len(different)} different: {different}", flush=True)
    return different


def disturbed(command: list[str], folder: Path, kills: int, rng: random.Random) -> Counter[str]:
    """Start the run until it ends by itself; kill it while a stage is open whose kind has kills left."""
    count: Counter[str] = Counter()
    while True:
        process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL)
        opened, kind = 0.0, ""
        while process.poll() is None:
            time.sleep(0.05)
            now = open_kind(folder)
            if now != kind or not now:
                opened, kind = time.time() + rng.uniform(0.0, 4.0), now
            elif count[kind] < kills and time.time() > opened:
                kill_all(process)
                count[kind] += 1
                print(f"killed in {kind} ({count[kind]})", flush=True)
        if process.returncode == 0:
            return count
        if process.returncode != -signal.SIGKILL:
            raise SystemExit(f"the run failed by itself with exit code {process.returncode}")


def kill_all(process: subprocess.Popen) -> None:
    """Kill the process and its descendants; a notebook's kernel is a session of its own."""
    for child in [*psutil.Process(process.pid).children(recursive=True), process]:
        child.kill()
    process.wait()


def open_kind(folder: Path) -> str:
    """The kind of the stage that is open now, "" for none of interest."""
    for begun in folder.glob("*/begun.json"):
        for kind, prefix in KINDS.items():
            if begun.parent.name.startswith(prefix):
                return kind
    return ""


def hashes(folder: Path) -> dict[str, tuple]:
    """What each stage made: the hashes of its files and of its episodes."""
    manifests = [json.loads(path.read_text()) for path in folder.rglob("manifest.json")]
    return {m["stage"]: (m["outputs"], m["episodes"]) for m in manifests}


if __name__ == "__main__":
    sys.exit(main())
