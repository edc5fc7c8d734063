"""The arms of reinforcement learning: the paper's two, and those that its takeaways are compared with.

An arm is what one training run does its own way; everything else is the profile's. All arms make as many
updates on as many episodes, so that a difference is not one of effort. Left out: combinations of arms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mtsql_lib.play import Setting
from mtsql_lib.rewards import EXECUTE_WEIGHT, MEMORY_WEIGHT, PROPOSE_WEIGHT, RewardBreakdown

# What an episode is paid. A term that is not scored adds nothing.
PAY: dict[str, Callable[[RewardBreakdown], float]] = {
    "outcome": lambda r: r.outcome,
    "process": lambda r: r.total,
    "propose": lambda r: r.outcome + PROPOSE_WEIGHT * (r.propose or 0.0),
    "verify": lambda r: r.outcome + EXECUTE_WEIGHT * (r.execute or 0.0) + MEMORY_WEIGHT * (r.memory or 0.0),
}


@dataclass(frozen=True)
class Arm:
    """`pay` names an entry of `PAY`. `start` is a checkpoint, "" the last round of the warm start. A branch
    leaves `rl_outcome` at `rl.process_from` of its updates. `beta` below 0 is the profile's.
    """

    pay: str = "outcome"
    start: str = ""
    setting: Setting = Setting()
    branch: bool = False
    curriculum: bool = True
    beta: float = -1.0


ARMS = {
    "rl_outcome": Arm(),
    "rl_process": Arm("process", branch=True),  # the authors' run: process reward in the last third
    "rl_outcome_branch": Arm(branch=True),  # the same with nothing new but the optimiser
    "rl_process_all": Arm("process"),
    "rl_propose": Arm("propose", branch=True),
    "rl_verify": Arm("verify", branch=True),
    "rl_short": Arm(start="sft_short", setting=Setting(mode="direct")),
    "rl_no_execute": Arm(setting=Setting(tools=("memory_retrieve",))),
    "rl_no_memory": Arm(setting=Setting(tools=("exec_sql",))),
    "rl_no_curriculum": Arm(curriculum=False),
    "rl_kl": Arm(beta=0.001),  # the paper's weight
}
