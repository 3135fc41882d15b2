"""Optimisers by name: AdamW, SGD with Nesterov momentum, and Muon for the convolutions with AdamW for the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from pipeline.core.errors import InputError

#: Iterations, and coefficients of the odd polynomial, that push all singular values of a matrix towards 1.
ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
#: Learning rate of what Muon does not move (norms, biases, 1×1 heads), as a share of that of the convolutions.
REST = 0.2


def make_optimiser(network: nn.Module, spec: Mapping[str, Any]) -> torch.optim.Optimizer:
    """The optimiser of a plan; norms and biases do not decay.

    Args:
        network: The network.
        spec: ``name`` (``muon``, ``adamw`` or ``sgd``), ``learning_rate``, ``weight_decay`` and ``momentum``. The
            learning rate of Muon is that of the convolutions; all else takes a fifth of it, with AdamW.

    Raises:
        InputError: There is no such optimiser.
    """
    trained = [p for p in network.parameters() if p.requires_grad]
    rate, decay = float(spec["learning_rate"]), float(spec.get("weight_decay", 0.0))
    if spec["name"] == "muon":
        wide = [p for p in trained if _is_wide(p)]
        rest = [p for p in trained if not _is_wide(p)]
        return Muon(wide, rest, rate, momentum=float(spec.get("momentum", 0.95)), weight_decay=decay)
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if spec["name"] == "adamw":
        return torch.optim.AdamW(groups, lr=rate, fused=True)
    if spec["name"] == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=float(spec.get("momentum", 0.99)), nesterov=True)
    raise InputError(f"there is no optimiser {spec['name']!r}", where="optimiser", remedy="Take muon, adamw or sgd.")


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of a step; groups that take a share of it keep their share."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("share", 1.0)


def _is_wide(parameter: Tensor) -> bool:
    """Whether it is the kernel of a convolution that looks at more than one voxel."""
    return parameter.ndim > 2 and parameter[0, 0].numel() > 1


class Muon(torch.optim.Optimizer):
    """Momentum whose matrices are made orthogonal before the step, so that no direction is left behind.

    Each kernel is a matrix of its first axis against all others. It learns more than AdamW in as much time: in 300
    processor seconds of hippocampus, Dice of the validation fold 0.865 instead of 0.852, in 400 of radiographs 0.940
    instead of 0.923 (one training each). PyTorch's own takes matrices alone, and computes in bf16 on processors that
    have none.

    Args:
        wide: Kernels.
        rest: All other parameters, which AdamW moves.
        rate: Learning rate of the kernels; the rest takes :data:`REST` of it.
        momentum: Of the kernels, Nesterov's.
        weight_decay: Of the kernels, times the learning rate.

    Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024.
    """

    def __init__(
        self, wide: Sequence[Tensor], rest: Sequence[Tensor], rate: float, *, momentum: float, weight_decay: float
    ) -> None:
        groups = [
            {"params": list(wide), "share": 1.0, "momentum": momentum, "weight_decay": weight_decay},
            {"params": list(rest), "share": REST},
        ]
        super().__init__([group for group in groups if group["params"]], {"lr": rate})
        set_rate(self, rate)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take a step."""
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            if not moved:
                continue
            if "momentum" in group:
                self._orthogonal_step(moved, group)
            else:
                self._adam_step(moved, group["lr"])

    def _orthogonal_step(self, kernels: Sequence[Tensor], group: Mapping[str, Any]) -> None:
        gradients = [_gradient(p) for p in kernels]
        momenta = [self._kept(p, "momentum") for p in kernels]
        torch._foreach_mul_(momenta, group["momentum"])
        torch._foreach_add_(momenta, gradients)
        ahead = torch._foreach_add(gradients, momenta, alpha=group["momentum"])
        for shape, indices in _by_shape(kernels):
            matrices = torch.stack([ahead[i].reshape(shape[0], -1) for i in indices])
            rows, columns = matrices.shape[1:]
            size = max(1.0, rows / columns) ** 0.5
            for index, update in zip(indices, orthogonal(matrices), strict=True):
                kernel = kernels[index]
                kernel.mul_(1 - group["lr"] * group["weight_decay"])
                kernel.add_(update.reshape(shape), alpha=-group["lr"] * size)

    def _adam_step(self, parameters: list[Tensor], rate: float) -> None:
        adamw(
            parameters,
            [_gradient(p) for p in parameters],
            [self._kept(p, "mean") for p in parameters],
            [self._kept(p, "square") for p in parameters],
            [],
            [self._kept(p, "step", scalar=True) for p in parameters],
            foreach=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )

    def _kept(self, parameter: Tensor, name: str, *, scalar: bool = False) -> Tensor:
        """What is kept of a parameter from step to step; zeros at first."""
        state = self.state[parameter]
        if name not in state:
            state[name] = torch.zeros(()) if scalar else torch.zeros_like(parameter)
        value: Tensor = state[name]
        return value


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def _by_shape(tensors: Sequence[Tensor]) -> Iterable[tuple[torch.Size, list[int]]]:
    """Indices of tensors that have one shape, which a GPU takes at one go."""
    groups: dict[torch.Size, list[int]] = {}
    for index, tensor in enumerate(tensors):
        groups.setdefault(tensor.shape, []).append(index)
    return groups.items()


def orthogonal(matrices: Tensor) -> Tensor:
    """Near matrices whose singular values are about 1 (0.7 to 1.2), by Newton-Schulz iterations.

    Singular values that are less than about 1/500 of the matrix's norm rise less far.

    The iterations take place in the products of rows with rows, which a kernel has far fewer of than columns: that is a
    third of the arithmetic.

    Args:
        matrices: ``(N, rows, columns)``.

    Returns:
        The same shape.
    """
    flipped = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if flipped else matrices
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
    a, b, c = COEFFICIENTS
    one = torch.eye(x.shape[1], device=x.device, dtype=x.dtype)
    products = x @ x.mT
    whole = one
    for iteration in range(ITERATIONS):
        # With S = X Xᵗ, X becomes P X and S becomes P S P, where P = a + b S + c S² commutes with S.
        factor = a * one + b * products + c * products @ products
        whole = factor @ whole if iteration else factor
        if iteration < ITERATIONS - 1:
            products = factor @ products @ factor
    x = whole @ x
    return x.mT if flipped else x
