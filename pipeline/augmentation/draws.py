"""Random numbers for a batch, each scan's from a seed of its own, so that they do not depend on its neighbours."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor


class Draws:
    """A generator for each scan of a batch, on the CPU; who shares the batch with a scan does not change its draws.

    Args:
        seeds: One a scan.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._generators = [Generator().manual_seed(seed) for seed in seeds]

    def of(self, chosen: Tensor) -> Draws:
        """The same generators, of the scans that ``(B,)`` ``chosen`` marks."""
        part = Draws(())
        part._generators = [one for one, wanted in zip(self._generators, chosen.tolist(), strict=True) if wanted]
        return part

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """``(B, *shape)`` between ``low`` and ``high``."""
        return torch.stack([torch.rand(shape, generator=one) for one in self._generators]) * (high - low) + low

    def log_uniform(self, bounds: tuple[float, float], *shape: int) -> Tensor:
        """``(B, *shape)``, uniform in the logarithm."""
        return self.uniform(math.log(bounds[0]), math.log(bounds[1]), *shape).exp()

    def normal(self, *shape: int) -> Tensor:
        """``(B, *shape)`` of mean 0 and variance 1."""
        return torch.stack([torch.randn(shape, generator=one) for one in self._generators])

    def chosen(self, probability: float) -> Tensor:
        """``(B,)`` boolean, each true with a probability."""
        return self.uniform(0, 1) < probability

    def normal_like(self, x: Tensor) -> Tensor:
        """As many as ``x`` has, of its dtype, drawn on its device: they are too many to send to a GPU."""
        found = torch.empty_like(x)
        for row, one in zip(found, self._generators, strict=True):
            seed = int(torch.randint(2**62, (), generator=one))
            row.normal_(generator=Generator(x.device).manual_seed(seed))
        return found
