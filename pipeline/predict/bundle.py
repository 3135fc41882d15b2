"""What the champion's MONAI bundle predicts with: MONAI's inferers over our networks, preparation and clean-up.

``configs/inference.json`` in the champion's folder names the networks; ``organseg.bundle`` runs them over files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.core.plan import Plan
from pipeline.core.scan import Array
from pipeline.imaging.preprocessing import Prepared
from pipeline.inference.champion import Champion
from pipeline.inference.model_files import load_model
from pipeline.inference.predictor import Predictor
from pipeline.inference.sliding_window import Forward, flip_sets, swapped_channels


class Probabilities(nn.Module):
    """A trained member of the champion, from windows to probabilities, mirrored at test time where the champion is.

    Args:
        folder: The member's folder.
        mirror: Average over mirrored windows.
    """

    def __init__(self, folder: str, mirror: bool = False) -> None:
        super().__init__()
        self.network, self.plan, _ = load_model(Path(folder))
        self.flips = flip_sets(self.plan) if mirror else [((), False)]
        self.swap = swapped_channels(self.plan)

    def forward(self, windows: Tensor) -> Tensor:
        """``(B, C, *patch)`` → ``(B, K, *patch)``."""
        total = None
        for axes, swaps in self.flips:
            spatial = [2 + axis for axis in axes]
            logits = self.network(windows.flip(spatial))
            p = torch.sigmoid(logits) if self.plan.overlapping else torch.softmax(logits, 1)
            p = (p[:, self.swap] if swaps else p).flip(spatial)
            total = p if total is None else total + p
        assert total is not None
        return total / len(self.flips)


def bundle_predictor(
    champion: Champion, networks: Sequence[Probabilities], inferers: Sequence[Callable[..., Any]]
) -> Predictor:
    """What predicts as the champion does, with MONAI's inferers.

    Args:
        champion: The champion.
        networks: Its members, in order.
        inferers: A MONAI inferer for each.
    """
    members = [(n.plan, _whole(n, i)) for n, i in zip(networks, inferers, strict=True)]
    return _Inferred(members, steps=champion.postprocessing)


class _Inferred(Predictor):
    """Its forward functions take whole images: MONAI slides."""

    def run_network(self, forward: Forward, ready: Prepared, plan: Plan) -> tuple[Array, dict[str, float]]:
        """Probabilities on the plan's grid; MONAI's inferer does not say how far mirrored windows agree."""
        return forward(ready.image), {}


def _whole(network: Probabilities, inferer: Callable[..., Any]) -> Forward:
    """A function from a whole prepared image ``(C, X, Y, Z)`` to probabilities ``(K, X, Y, Z)``."""

    def predict(image: Array) -> Array:
        with torch.inference_mode():
            answer: Array = inferer(torch.from_numpy(image)[None], network)[0].numpy()
        return answer

    return predict
