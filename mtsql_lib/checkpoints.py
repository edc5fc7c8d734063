"""Folders of a training run that survives `kill -9`: what is half written is never taken for whole.

    out/                 model, tokenizer and `log.jsonl`; `config.json` appears last
    out/step-0010/       the model after 10 updates (reinforcement learning), whole or not there
    out/.resume/         TRL's checkpoints with optimizer and random state, gone at the end
    out/training.json    a fingerprint of what is trained on what

The kit's tokenizer files are copied as they are: saved through transformers they would lose `"spelled"`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from mtsql_lib.errors import KitError

_WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")
_MODEL_FILES = (*_WEIGHTS, "model.safetensors.index.json", "config.json", "generation_config.json")
_OF_TRAINING = ("training.json", "log.jsonl")
_WHOLE = "whole"
_UNLOGGED = ("clip_ratio", "epoch", "step_time", "num_tokens")  # always 0, told by the step, not repeatable


class RunFolder:
    """One training run's folder; `begin` before, `finish` after, `step_folder` in between."""

    def __init__(self, folder: str | Path, base: str | Path):
        self.folder, self.base = Path(folder), Path(base)
        self.resume = self.folder / ".resume"

    @property
    def finished(self) -> bool:
        """True once the trained model lies in the folder."""
        return (self.folder / "config.json").is_file()

    def begin(self, inputs: Iterable[object]) -> Path | None:
        """Claim the folder for a training on `inputs` (anything with a stable `repr`), clear away what a kill
        left half written, and return the checkpoint to go on from, if any.

        Raises KitError if the folder belongs to another training.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        print_of = {"fingerprint": fingerprint(self.base, inputs)}
        record = self.folder / "training.json"
        if record.is_file() and json.loads(record.read_text(encoding="utf-8")) != print_of:
            raise KitError(
                f"{self.folder} holds a training on other data, model or settings: choose another folder"
            )
        write_whole(record, json.dumps(print_of) + "\n")
        for left in (
            *self.folder.glob(".*.half"),
            *(self.resume.glob("checkpoint-*") if not self.finished else ()),
        ):
            if not (left / _WHOLE).is_file():
                shutil.rmtree(left)
        if self.finished:
            shutil.rmtree(self.resume, ignore_errors=True)
            return None
        steps = sorted(self.resume.glob("checkpoint-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]))
        return steps[-1] if steps else None

    def mark_whole(self, step: int) -> None:
        """Say that the checkpoint of `step` may be resumed from."""
        (self.resume / f"checkpoint-{step}" / _WHOLE).touch()

    def save(self, name: str, write: Callable[[Path], None]) -> None:
        """Let `write` fill a model folder, add the tokenizer, put it in place as `name` ("": as the run)."""
        half = self.folder / f".{name or 'model'}.half"
        shutil.rmtree(half, ignore_errors=True)
        write(half)
        for path in list(half.iterdir()):
            if not any(path.match(pattern) for pattern in _MODEL_FILES):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        copy_tokenizer(self.base, half)
        if name:
            shutil.rmtree(self.folder / name, ignore_errors=True)
            os.replace(half, self.folder / name)
            return
        for path in sorted(half.iterdir(), key=lambda path: path.name == "config.json"):
            os.replace(path, self.folder / path.name)
        half.rmdir()
        shutil.rmtree(self.resume, ignore_errors=True)

    def log(self, opening: dict, history: list[dict]) -> None:
        """Write `log.jsonl` anew: `opening`, then a line an update, the same bytes for the same training."""
        updates = [sorted(entry.items()) for entry in history if "loss" in entry]
        lines = [
            {"step": dict(u)["step"]} | {k: v for k, v in u if not k.startswith(_UNLOGGED)} for u in updates
        ]
        lines = [opening, *lines]
        write_whole(self.folder / "log.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


def copy_tokenizer(base: Path, folder: Path) -> None:
    """Every file of `base` that is neither weights, configuration of the model, nor a run's own record."""
    for path in sorted(base.iterdir()):
        known = (*_MODEL_FILES, *_OF_TRAINING, "README.md", "optimizer.pt", "training_args.bin")
        if path.is_file() and not any(path.match(pattern) for pattern in known):
            shutil.copyfile(path, folder / path.name)


def fingerprint(base: Path, inputs: Iterable[object]) -> str:
    """sha256 over the base model's weights and the `repr` of the inputs."""
    digest = hashlib.sha256()
    for path in sorted(p for pattern in _WEIGHTS for p in base.glob(pattern)):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    for piece in inputs:
        digest.update(repr(piece).encode() + b"\n")
    return digest.hexdigest()


def write_whole(path: Path, text: str) -> None:
    """Write a small file so that it is either the old one or the new one."""
    half = path.with_name(f".{path.name}.new")
    half.write_text(text, encoding="utf-8")
    os.replace(half, path)
