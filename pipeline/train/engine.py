"""One optimiser step after another: network, loss, optimiser, the mean of weights, and their state as tensors."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.core.errors import InputError
from pipeline.core.plan import Plan
from pipeline.core.say import Say, quiet
from pipeline.inference.memory import out_of_memory
from pipeline.train.augment import Augmentation, targets_of
from pipeline.train.data import Batch, Batches
from pipeline.train.losses import make_loss
from pipeline.train.optimisers import make_optimiser, set_rate
from pipeline.train.schedule import ema_decay, rate_factor
from pipeline.train.seeds import DROPOUT_STREAM, WEIGHTS_STREAM, seed_for

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Settings:
    """What is settled on the device before the first step, and kept when a training is resumed.

    Attributes:
        steps: Optimiser steps of the whole training.
        precision: ``fp32``, ``bf16`` or ``fp16`` (autocast).
        micro_batch: Patches that go through the network at a time; gradients accumulate over a batch.
        compiled: Whether the network is compiled.
        deterministic: Whether only deterministic kernels are allowed on a GPU.
    """

    steps: int
    precision: str = "fp32"
    micro_batch: int = 1
    compiled: bool = False
    deterministic: bool = False


class NotFiniteError(Exception):
    """The loss or the gradient of a step is infinite or not a number; no weight was touched by it."""

    def __init__(self, step: int, scans: Sequence[str], what: str) -> None:
        self.step, self.scans, self.what = step, tuple(scans), what
        super().__init__(f"{what} of step {step} is not finite")


def drawn_network(plan: Plan, build: Callable[[], nn.Module]) -> nn.Module:
    """Build the network with the weights that the plan's seed gives."""
    torch.manual_seed(seed_for(plan.seed, WEIGHTS_STREAM))
    return build()


class Engine:
    """The state of a training and the step that advances it.

    Args:
        plan: The plan.
        network: Network with its first weights, on the device.
        batches: Where batches come from.
        settings: What was settled on the device.
        wrap: Makes the module that is called in a step, such as a distributed one; by default the network itself.
        say: Takes lines about what the user should know.
    """

    def __init__(
        self,
        plan: Plan,
        network: nn.Module,
        batches: Batches,
        settings: Settings,
        wrap: Callable[[nn.Module], nn.Module] = lambda network: network,
        say: Say = quiet,
    ) -> None:
        self.plan, self.network, self.batches, self.settings = plan, network, batches, settings
        self.device = batches.device
        self.say = say
        self._form: torch.memory_format | None = None
        if getattr(network, "channels_last", False):
            self._form = torch.channels_last if plan.spatial_dims == 2 else torch.channels_last_3d
            network.to(memory_format=self._form)  # type: ignore[call-overload]
        self.optimiser = make_optimiser(network, plan.optimiser)
        self.mean = copy.deepcopy(network).eval().requires_grad_(False)
        self.loss = make_loss(plan.loss, plan.overlapping)
        self.augmentation = Augmentation(plan)
        self.micro_batch = settings.micro_batch
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=settings.precision == "fp16")
        wrapped = wrap(network)
        self._alone = wrapped is network
        # Gradients are summed over the processes once a batch, not after every part of it.
        self._no_sync: Callable[[], AbstractContextManager[None]] = getattr(wrapped, "no_sync", nullcontext)
        self.forward: Callable[..., Any] = torch.compile(wrapped) if settings.compiled else wrapped
        self._floats = self._paired(floating=True)
        self._counts = self._paired(floating=False)

    def _paired(self, *, floating: bool) -> tuple[list[Tensor], list[Tensor]]:
        """Tensors of the mean and of the network that belong together."""
        own = self.network.state_dict(keep_vars=True)
        pairs = [
            (value, own[name].detach())
            for name, value in self.mean.state_dict().items()
            if value.is_floating_point() == floating
        ]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]

    def batch(self, step: int) -> Batch:
        """The augmented batch of a step."""
        return self.augmentation(self.batches.at(step), step, self.batches.members)

    def step(self, step: int) -> float:
        """Take step ``step`` (0 is the first) and give its loss.

        Raises:
            NotFiniteError: The loss or the gradient is infinite or not a number.
        """
        batch = self.batch(step)
        spec = self.plan.optimiser
        factor = rate_factor(
            step, self.settings.steps, schedule=spec.get("schedule", "cosine"), warmup=spec.get("warmup", 0.05)
        )
        rate = float(spec["learning_rate"]) * factor
        set_rate(self.optimiser, rate)
        # A forward pass already writes into the running statistics of batch norms.
        before = [buffer.clone() for buffer in self.network.buffers()]
        loss = self._over_processes(self._gradients(batch, step))
        if not math.isfinite(loss):
            self._undo(before)
            raise NotFiniteError(step, batch.scans, "the loss")
        self.scaler.unscale_(self.optimiser)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), float(spec.get("gradient_clip", math.inf)))
        if self.settings.precision != "fp16" and not bool(torch.isfinite(norm)):
            self._undo(before)
            raise NotFiniteError(step, batch.scans, "the gradient")
        self._advance()
        self.optimiser.zero_grad(set_to_none=True)
        decay = ema_decay(step, float(spec.get("ema", 0.0)))
        torch._foreach_lerp_(self._floats[0], self._floats[1], 1 - decay)
        for kept, value in zip(*self._counts, strict=True):
            kept.copy_(value)
        return loss

    def _advance(self) -> None:
        try:
            self.scaler.step(self.optimiser)
        except RuntimeError as error:
            # The optimiser allocates its moments in the first step.
            if not out_of_memory(error):
                raise
            raise InputError(
                "the optimiser's moments are more than the memory of the device holds beside the network",
                where=self.plan.model,
                remedy="Set fewer features in models.<name>.plan.network.",
            ) from None
        self.scaler.update()

    def _undo(self, buffers: Sequence[Tensor]) -> None:
        """Forget a step that was not taken."""
        self.optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            for buffer, value in zip(self.network.buffers(), buffers, strict=True):
                buffer.copy_(value)

    def fit(self, step: int) -> int:
        """Find how many patches fit at a time, by the gradients of a batch, without a step; gives their number."""
        before = [buffer.clone() for buffer in self.network.buffers()]
        self._gradients(self.batch(step), step)
        self._undo(before)
        return self.micro_batch

    def _gradients(self, batch: Batch, step: int) -> float:
        """Accumulate the gradients of a batch, in smaller parts if memory runs out, and give its mean loss."""
        while True:
            try:
                return self._accumulate(batch, step)
            except RuntimeError as error:
                # With several processes the others would wait in the middle of a batch; what fits was tried before.
                if not out_of_memory(error) or not self._alone:
                    raise
            self.optimiser.zero_grad(set_to_none=True)
            if self.micro_batch == 1:
                raise InputError(
                    "one patch is more than the memory of the device holds",
                    where=f"{self.plan.model}, patch {self.plan.patch}",
                    remedy="Set a smaller patch, or fewer features, in models.<name>.plan.",
                )
            self.micro_batch = -(-self.micro_batch // 2)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self.say(f"out of memory: {self.micro_batch} patches at a time from here on, gradients accumulated")

    def _accumulate(self, batch: Batch, step: int) -> float:
        self.network.train()
        torch.manual_seed(seed_for(self.plan.seed, DROPOUT_STREAM, step, self.batches.members.start))
        count, total = len(batch.scans), 0.0
        dtype = DTYPES[self.settings.precision]
        targets = targets_of(batch.labels, self.plan)
        for first in range(0, count, self.micro_batch):
            part = slice(first, first + self.micro_batch)
            images, share = batch.images[part], len(batch.scans[part]) / count
            if self._form is not None:
                images = images.contiguous(memory_format=self._form)
            with nullcontext() if first + self.micro_batch >= count else self._no_sync():
                with torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32):
                    logits = self.forward(images)
                loss = self.loss(logits, targets[part], batch.annotated[part]) * share
                self.scaler.scale(loss).backward()
            total += float(loss.detach())
        return total

    def _over_processes(self, loss: float) -> float:
        """The mean over the processes, so that all of them judge by the same number."""
        if self.batches.world == 1:
            return loss
        shared = torch.tensor([loss], dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(shared)
        return float(shared.item()) / self.batches.world

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on, as tensors."""
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"mean.{name}": value for name, value in self.mean.state_dict().items()}
        for index, values in self.optimiser.state_dict()["state"].items():
            for name, value in values.items():
                if value is not None:
                    tensors[f"optimiser.{index}.{name}"] = torch.as_tensor(value)
        if self.scaler.is_enabled():
            scaler = self.scaler.state_dict()
            tensors["scaler"] = torch.tensor([scaler["scale"], scaler["_growth_tracker"]], dtype=torch.float64)
        return tensors

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over a state that :meth:`state` gave."""
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "mean": {}, "optimiser": {}}
        for name, value in tensors.items():
            kind, _, rest = name.partition(".")
            if kind in parts:
                parts[kind][rest] = value
        self.network.load_state_dict(parts["network"])
        self.mean.load_state_dict(parts["mean"])
        whole = self.optimiser.state_dict()
        whole["state"] = {}
        owners = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
        for name, value in parts["optimiser"].items():
            index, _, rest = name.partition(".")
            owner = owners[int(index)]
            # The fused kernel walks through weights and moments side by side: their order in memory must be one.
            like = owner if value.shape == owner.shape else value
            whole["state"].setdefault(int(index), {})[rest] = torch.empty_like(like, dtype=value.dtype).copy_(value)
        self.optimiser.load_state_dict(whole)
        if self.scaler.is_enabled():
            scale, tracker = tensors["scaler"].tolist()
            self.scaler.load_state_dict({**self.scaler.state_dict(), "scale": scale, "_growth_tracker": int(tracker)})
