"""The masked multi-turn trainers: `MultiTurnSFT` and `MultiTurnGRPO`, thin subclasses of TRL's trainers.

TRL does the optimisation, the kit does the episodes; `ledger.py` makes the tensors and checks every batch
that reaches the loss. `MultiTurnGRPO` replaces one method of TRL 1.16 (`_generate_and_score_completions`:
rollouts, rewards and (B, T) advantages come from outside). Where one process holds the whole model two more
compute the same with less: `_get_per_token_logps_and_entropies` (the prompt of a group once) and SFT's
`compute_loss` (little padding, logits of sampled tokens alone). A contract test pins all three.
`training.py` drives them.

What was left out: TRL's own tool loop, reward functions and completion log; several updates on the same
rollouts, so the probability ratio is 1 and the clipping range never binds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from datasets import Dataset
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from mtsql_lib.config import where_model
from mtsql_lib.environment import Episode
from mtsql_lib.errors import KitError
from mtsql_lib.ledger import IGNORED, Played, TokenLedger, batch_of, rows_of, sft_rows
from mtsql_lib.shared_prefix import shared_prefix_logps

_SIDE_BY_SIDE = 4  # rows in one forward pass of fine-tuning

# play(model, question ids, step): the rollouts of one update by the model as it is then, `group_size`
# episodes a question, question by question
Play = Callable[[torch.nn.Module, list[str], int], Played]


class MultiTurnSFT(SFTTrainer):
    """Supervised fine-tuning on episodes; `episodes` are the training set."""

    def __init__(self, model, tokenizer, episodes: Sequence[Episode], config: SFTConfig, peft_config=None):
        self.ledger = TokenLedger(tokenizer.eos_token_id)
        for episode in episodes:
            self.ledger.record(episode)
        dataset = Dataset.from_list(sft_rows(episodes))
        super().__init__(
            model=model,
            args=config,
            train_dataset=dataset,
            processing_class=tokenizer,
            peft_config=peft_config,
        )

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """TRL's loss, the mean over sampled tokens, on a batch that has passed the ledger.

        Where one process holds the whole model it is computed sparingly: rows of like length side by side,
        and logits of the sampled tokens alone.
        """
        rows = list(rows_of(inputs))
        for number, (ids, labels) in enumerate(rows):
            self.ledger.check_row(number, ids, labels != IGNORED)
        if self.accelerator.num_processes > 1 or return_outputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        plain = _plain(self.accelerator.unwrap_model(model))
        rows.sort(key=lambda row: len(row[0]))
        parts = [rows[start : start + _SIDE_BY_SIDE] for start in range(0, len(rows), _SIDE_BY_SIDE)]
        losses = [_sampled_loss(plain, *zip(*part, strict=True)) for part in parts]
        count = num_items_in_batch
        return sum(losses) / (sum(_alive(labels) for _, labels in rows) if count is None else count)


def _sampled_loss(model, ids: Sequence[torch.Tensor], labels: Sequence[torch.Tensor]) -> torch.Tensor:
    """Summed cross-entropy of the alive labels; ids and labels are unpadded rows, (T,) each. What pads a row
    on its right is seen by none of its tokens, so no mask is needed.
    """
    states = model.model(input_ids=pad_sequence(ids, batch_first=True), use_cache=False).last_hidden_state
    wanted = pad_sequence(labels, batch_first=True, padding_value=IGNORED)[:, 1:]
    alive = wanted != IGNORED
    logits = model.lm_head(states[:, :-1][alive]).float()
    return torch.nn.functional.cross_entropy(logits, wanted[alive], reduction="sum")


def _alive(labels: torch.Tensor) -> torch.Tensor:
    return (labels[1:] != IGNORED).sum()


def _plain(model):
    """The causal language model itself, adapters in place."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


class MultiTurnGRPO(GRPOTrainer):
    """GRPO over whole trajectories that `play` provides; `dataset` has a column `prompt` of question ids."""

    def __init__(self, model, tokenizer, dataset: Dataset, play: Play, config: GRPOConfig, peft_config=None):
        self.play, self.ledger, self._live = play, TokenLedger(tokenizer.eos_token_id), None
        super().__init__(
            model=model,
            reward_funcs=_scored_outside,
            args=config,
            train_dataset=dataset,
            processing_class=tokenizer,
            peft_config=peft_config,
        )
        # with several processes the forward pass must go through the wrapper that synchronises gradients
        self.share_prefix = self.accelerator.num_processes == 1

    def _generate_and_score_completions(self, inputs: list[dict]) -> dict[str, torch.Tensor]:
        asked = [row["prompt"] for row in inputs]
        questions = asked[:: self.num_generations]
        if asked != [q for q in questions for _ in range(self.num_generations)]:
            raise KitError(
                "a process got half a group: make prompts_per_step divisible by the number of processes"
            )
        self.model.eval()
        played = self.play(self.accelerator.unwrap_model(self.model), questions, self.state.global_step)
        self.model.train()
        played.check(questions, self.num_generations)
        self.ledger = TokenLedger(self._tokenizer.eos_token_id)
        for episode, advantages in zip(played.episodes, played.advantages, strict=True):
            self.ledger.record(episode, advantages)
        for name, value in _figures(played).items():
            self._metrics["train"][name].append(value)
        tensors = batch_of(played, self._tokenizer.pad_token_id).items()
        batch = {name: value.to(self.accelerator.device) for name, value in tensors}
        alive = (batch["completion_mask"] * batch["tool_mask"]).sum()
        batch["num_items_in_batch"] = self.accelerator.gather(alive).sum()
        if self.beta != 0.0:
            batch["ref_per_token_logps"] = self._reference_logps(batch)
        return batch

    def _reference_logps(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Log-probs (B, C) of the starting model: its copy, or under LoRA the model without adapters."""
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
        attention = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
        plain = self.accelerator.unwrap_model(self.model)
        model, start = (
            (self.model, plain.disable_adapter())
            if self.ref_model is None
            else (self.ref_model, nullcontext())
        )
        with torch.no_grad(), start:
            rows = self.args.per_device_train_batch_size
            return self._get_per_token_logps_and_entropies(
                model, ids, attention, batch["completion_ids"].shape[1], rows
            )[0]

    def _compute_loss(self, model, inputs):
        nothing = torch.zeros_like(inputs["prompt_mask"])
        alive = torch.cat([nothing, inputs["completion_mask"] * inputs["tool_mask"]], 1)
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
        attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
        self.ledger.check(ids, attention, alive, torch.cat([nothing, inputs["advantages"]], 1))
        self._live = _live_rows(inputs["advantages"]) if self.share_prefix and self.beta == 0.0 else None
        loss = super()._compute_loss(model, inputs)
        self._note(inputs, alive[:, nothing.shape[1] :])
        return loss

    def _note(self, inputs, alive: torch.Tensor) -> None:
        """Log how far the log-probabilities are from the engine's; and mend TRL's mean entropy."""
        trained = alive.bool()
        if self._live is not None:
            trained = trained & self._live[:, None]
            # rows left out count as 0 there
            self._metrics["train"]["entropy"][-1] *= (alive.sum() / trained.sum().clamp(min=1)).item()
        gap = (self._logps - inputs["sampling_per_token_logps"])[trained].abs()
        if self.temperature == 1 and len(gap) and not gap.isnan().any():
            self._metrics["train"]["logprob_gap"].append(gap.mean().item())

    def _get_per_token_logps_and_entropies(
        self,
        model,
        input_ids,
        attention_mask,
        logits_to_keep,
        batch_size=None,
        compute_entropy=False,
        **kwargs,
    ):
        if not self.share_prefix:
            result = super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, **kwargs
            )
            self._logps = result[0].detach()
            return result
        plain = _plain(self.accelerator.unwrap_model(model))
        with self.accelerator.autocast():
            logps, entropies = shared_prefix_logps(
                plain, input_ids, attention_mask, logits_to_keep, self.temperature, self._live
            )
        self._logps = logps.detach()
        return logps, entropies if compute_entropy else None, None


def _live_rows(advantages: torch.Tensor) -> torch.Tensor:
    """Rows (B,) that a loss without KL term depends on: those with an advantage, or the first."""
    live = advantages.ne(0).any(1)
    live[0] |= ~live.any()  # the loss must stay a function of the weights
    return live


def _figures(played: Played) -> dict[str, float]:
    """What the log says of an update's rollouts: mean reward, shares, and lengths in tokens."""
    count, stops = len(played.episodes), [e.stop for e in played.episodes]
    return {
        "reward": sum(played.rewards) / count,
        "share_trained": sum(any(values) for values in played.advantages) / count,
        "share_cut": stops.count("length") / count,
        "share_unanswered": sum(e.answer is None for e in played.episodes) / count,
        "sampled_tokens": sum(map(len, played.advantages)) / count,
        **played.figures,
    }


def _scored_outside(**_: object) -> list[float]:
    raise RuntimeError("rewards come with the episodes; TRL must not score completions")


def load_model(path: str | Path, dtype: str = "float32"):
    """A causal language model from a local folder; KitError if it is missing or corrupt.

    `dtype` is float32, bfloat16, or auto for what the weights were saved in.
    """
    folder = Path(path)
    if not (folder / "config.json").is_file():
        raise KitError(
            f"no model at {folder}: give a folder with config.json and weights; {where_model(folder)}"
        )
    disable_progress_bar()  # one for every checkpoint that is loaded says nothing
    try:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
    except Exception as fault:
        reason = str(fault).splitlines()[0][:160]
        raise KitError(f"the model in {folder} cannot be loaded ({reason}): take a fresh copy") from None


def load_tokenizer(path: str | Path):
    """The tokenizer that TRL asks for its pad and end-of-turn ids; texts go through `tokens.load_codec`."""
    return AutoTokenizer.from_pretrained(Path(path), local_files_only=True)
