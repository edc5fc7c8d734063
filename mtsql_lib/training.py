"""The two drivers: `finetune` and `reinforce` train a model folder into a new one, from a profile.

Killed at any moment and called again with the same arguments they go on from the last whole checkpoint and
end with the bytes of the undisturbed run (float32, CPU). What was left out: evaluation during training; the
model of every few updates is kept, and whoever chooses among them plays held-out dialogues with it.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from accelerate import PartialState
from datasets import Dataset, disable_progress_bars
from transformers import AutoModelForCausalLM, PrinterCallback, TrainerCallback
from transformers.utils import logging as transformers_logging
from trl import GRPOConfig, SFTConfig

from mtsql_lib.checkpoints import RunFolder
from mtsql_lib.config import Profile
from mtsql_lib.environment import Episode
from mtsql_lib.errors import KitError
from mtsql_lib.ledger import sift
from mtsql_lib.trainer import MultiTurnGRPO, MultiTurnSFT, Play, load_model, load_tokenizer

_MICRO_TOKENS = 2**17  # tokens of one forward and backward pass; a larger batch is split into equal parts


def sft_config(profile: Profile, folder: str | Path, **changes: object) -> SFTConfig:
    """TRL's settings for a round of fine-tuning; `changes` are fields of SFTConfig."""
    batch = profile.sft.batch_size
    settings = {
        **_common(profile, folder, batch),
        "learning_rate": profile.sft.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": profile.sft.warmup,
        "num_train_epochs": profile.sft.epochs,
        "save_steps": 0.2,  # of all updates
        "max_length": None,  # overlong episodes are counted and left out, never cut
    }
    return SFTConfig(**{**settings, **changes})


def grpo_config(profile: Profile, folder: str | Path, steps: int, **changes: object) -> GRPOConfig:
    """TRL's settings for `steps` updates, one on each batch of rollouts; `changes` are fields of GRPOConfig.

    `loss_type` bnpo is the mean over the tokens of each undivided part, as in verl: where a batch is split it
    differs a little from dapo, the mean over all its tokens. The other types do not depend on the split.
    """
    rl = profile.rl
    settings = {
        **_common(profile, folder, rl.prompts_per_step * rl.group_size),
        "max_steps": steps,
        "num_generations": rl.group_size,
        "max_completion_length": profile.rollout.max_episode_tokens,
        "learning_rate": rl.learning_rate,
        "lr_scheduler_type": "constant",
        "temperature": rl.temperature,
        "beta": rl.beta,
        "use_bias_correction_kl": False,  # verl's low_var_kl; TRL's default has another gradient at ratio 1
        "epsilon": rl.clip,
        "loss_type": rl.loss_type,
        "shuffle_dataset": False,  # the curriculum is the order
        "save_steps": rl.save_every,
    }
    return GRPOConfig(**{**settings, **changes})


def _common(profile: Profile, folder: str | Path, batch: int) -> dict[str, object]:
    """Settings of both trainers, for `batch` episodes an update over all processes."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if batch % processes:
        raise KitError(f"{batch} episodes an update cannot be shared by {processes} processes")
    share = batch // processes
    room = max(_MICRO_TOKENS // profile.rollout.max_episode_tokens, 1)
    parts = next(n for n in range(1, share + 1) if share % n == 0 and share // n <= room)
    cpu = not torch.cuda.is_available()
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": share // parts,
        "gradient_accumulation_steps": parts,
        "bf16": profile.model.dtype == "bfloat16",  # autocast; the weights that are trained stay in float32
        "use_cpu": cpu,
        "gradient_checkpointing": not cpu,
        "seed": profile.seed,
        "optim": "adamw_torch",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_total_limit": 2,
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }


def finetune(
    model_path: str | Path, episodes: Sequence[Episode], profile: Profile, out_folder: str | Path
) -> None:
    """Fine-tune a model folder on episodes into a new model folder, resuming what an earlier call left.

    Writes weights (LoRA merged), the tokenizer's files as they are, and `log.jsonl`: first how many episodes
    were left out and why (see `ledger.sift`), then a line an update. Raises KitError if no episode is fit, or
    if the folder belongs to another training.
    """
    run = RunFolder(out_folder, model_path)
    inputs = [profile.sft, profile.model, profile.seed, *((e.ids(), e.mask()) for e in episodes)]
    with _one_after_the_other():
        start = run.begin(inputs)
    if run.finished:
        return
    tokenizer = load_tokenizer(model_path)
    kept, dropped = sift(episodes, profile.rollout.max_episode_tokens)
    if not kept:
        raise KitError(
            f"none of {len(episodes)} episodes is fit to train on ({dict(dropped)}): raise the token budget"
        )
    _quiet()
    model = load_model(model_path, _weights_dtype(profile))
    trainer = MultiTurnSFT(model, tokenizer, kept, sft_config(profile, run.resume), _lora(profile))
    opening = {"episodes": len(episodes), "trained_on": len(kept)}
    opening |= {reason: dropped[reason] for reason in ("cut", "unanswered", "malformed", "overlong")}
    _train(trainer, run, start, opening, keep_steps=False)


def reinforce(
    model_path: str | Path, order: Sequence[str], play: Play, profile: Profile, out_folder: str | Path
) -> None:
    """Train a model folder by GRPO into a new model folder, resuming what an earlier call left.

    `order` names the questions of every update one after the other, `prompts_per_step` each; `play` must
    depend on nothing but its arguments, so that a repeated update is the same. Besides the model and
    `log.jsonl`, every `save_every` updates a model folder (`step-0010`) is kept. Raises KitError if the order
    does not fill its last update, or if the folder belongs to another training.
    """
    steps, rest = divmod(len(order), profile.rl.prompts_per_step)
    if rest or not steps:
        raise KitError(
            f"{len(order)} questions are no whole number of updates of {profile.rl.prompts_per_step}"
        )
    run = RunFolder(out_folder, model_path)
    with _one_after_the_other():
        start = run.begin([profile.rl, profile.model, profile.rollout, profile.seed, list(order)])
    if run.finished:
        return
    _quiet()
    dataset = Dataset.from_list([{"prompt": question} for question in order])
    config = grpo_config(profile, run.resume, steps)
    model = load_model(model_path, _weights_dtype(profile))
    trainer = MultiTurnGRPO(model, load_tokenizer(model_path), dataset, play, config, _lora(profile))
    _train(trainer, run, start, {"questions": len(order), "updates": steps}, keep_steps=True)


def _one_after_the_other():
    """The first process clears the folder before the others look at it."""
    return PartialState(cpu=not torch.cuda.is_available()).main_process_first()


def _train(trainer, run: RunFolder, start: Path | None, opening: dict, keep_steps: bool) -> None:
    trainer.remove_callback(PrinterCallback)
    trainer.model.config.use_cache = True  # TRL switches it off, and the saved model would generate without
    trainer.add_callback(_Keeper(trainer, run, opening, keep_steps))
    trainer.train(resume_from_checkpoint=str(start) if start else None)
    _keep(trainer, run, "")


class _Keeper(TrainerCallback):
    """Writes the log after every update; at a checkpoint keeps the model, then marks the checkpoint whole."""

    def __init__(self, trainer, run: RunFolder, opening: dict, keep_steps: bool):
        self.trainer, self.run, self.opening, self.keep_steps = trainer, run, opening, keep_steps

    def on_log(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            self.run.log(self.opening, state.log_history)
        loss = state.log_history[-1].get("loss", 0.0)
        if not math.isfinite(loss):
            raise KitError(f"the loss of update {state.global_step} is {loss}: lower the learning rate")

    def on_save(self, args, state, control, **kwargs):
        if self.keep_steps:
            _keep(self.trainer, self.run, f"step-{state.global_step:04d}")
        if state.is_world_process_zero:
            self.run.mark_whole(state.global_step)


def _keep(trainer, run: RunFolder, name: str) -> None:
    """Save the model as it is now under `name`; every process takes part, the first one writes."""
    scratch = run.folder / ".weights.half"
    trainer.save_model(str(scratch))
    if trainer.is_world_process_zero():
        run.save(name, partial(_merge, run.base, scratch) if _is_lora(trainer) else scratch.rename)
        shutil.rmtree(scratch, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()


def _merge(base: Path, adapter: Path, target: Path) -> None:
    # on a fresh copy: merging and unmerging the trained model would change the last bits of its weights
    from peft import PeftModel

    model = AutoModelForCausalLM.from_pretrained(base, dtype="auto", local_files_only=True)
    with torch.random.fork_rng():  # fresh adapters draw numbers, which a resumed run would not have drawn
        PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(target)


def _is_lora(trainer) -> bool:
    return hasattr(trainer.accelerator.unwrap_model(trainer.model), "merge_and_unload")


def _lora(profile: Profile):
    """Adapters on all linear layers of the blocks, scaled by two; None where all weights are trained."""
    rank = profile.model.lora_rank
    if not rank:
        return None
    from peft import LoraConfig

    layers = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=layers, task_type="CAUSAL_LM")


def _weights_dtype(profile: Profile) -> str:
    """Weights are trained in float32, bfloat16 would lose updates of 1e-6; under LoRA they are frozen."""
    return profile.model.dtype if profile.model.lora_rank else "float32"


def _quiet() -> None:
    disable_progress_bars()
    transformers_logging.disable_progress_bar()
    logging.getLogger("trl").setLevel(logging.ERROR)
    transformers_logging.set_verbosity_error()
