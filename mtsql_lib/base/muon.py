"""Muon: momentum, then the nearest orthogonal matrix by Newton-Schulz (Jordan et al., 2024),
scaled to the size of an AdamW step.

`torch.optim.Muon` always orthogonalises in bfloat16, which processors without bfloat16 instructions emulate:
there it took a third of a training step, so here they do it in float32. Matrices of one shape are
orthogonalised together.
"""

from __future__ import annotations

import torch

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def has_bfloat16() -> bool:
    """Does this processor multiply bfloat16 matrices by itself? Where it does not, emulating is slow."""
    can = torch.cpu.get_capabilities()
    return bool(can.get("avx512_bf16") or can.get("amx_bf16"))


class Muon(torch.optim.Optimizer):
    """For 2-D parameters; `lr` is comparable to AdamW's (update RMS 0.2, Liu et al., 2025)."""

    def __init__(self, params, lr: float, momentum: float = 0.95, weight_decay: float = 0.01):
        super().__init__(list(params), {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[torch.Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    shapes.setdefault(p.shape, []).append(p)
            for same in shapes.values():
                self._update(same, group)

    def _update(self, same: list[torch.Tensor], group: dict) -> None:
        directions = []
        for p in same:
            buffer = self.state[p].setdefault("momentum", torch.zeros_like(p))
            buffer.lerp_(p.grad, 1 - group["momentum"])
            directions.append(p.grad.lerp(buffer, group["momentum"]))
        updates = orthogonalised(torch.stack(directions))
        scale = 0.2 * max(same[0].shape) ** 0.5
        for p, update in zip(same, updates, strict=True):
            p.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"] * scale)


def orthogonalised(matrices: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """(N, R, C) to about the nearest (semi-)orthogonal matrices; singular values end near 1, not at 1."""
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).to(torch.bfloat16 if has_bfloat16() else x.dtype)
    for _ in range(steps):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.transpose(1, 2) if tall else x).to(matrices.dtype)
