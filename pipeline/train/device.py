"""The machine that a training runs on: device, threads, precision by measurement, memory, time of a step."""

from __future__ import annotations

import getpass
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from pipeline.core.errors import InputError
from pipeline.core.locks import hold_one
from pipeline.core.machine import usable_threads
from pipeline.core.plan import Plan
from pipeline.core.say import Say, quiet
from pipeline.train.engine import Engine, NotFiniteError, Settings

#: How much faster autocast must be to be chosen: it costs a little accuracy.
WORTH = 1.15
#: Steps that a measurement takes, after one that warms up.
MEASURED = 3
#: Share of the time left that steps are planned into; the rest absorbs what a short measurement cannot see.
SAFETY = 0.96


@dataclass(frozen=True)
class World:
    """The processes of one training.

    Attributes:
        rank: This process.
        size: All of them.
        local: Its number on this machine, which picks its GPU.
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0


def join_world(device: str | None = None) -> World:
    """Join the processes that ``torchrun`` started; alone without it.

    Args:
        device: What was asked for; the processes of several cards take one each.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    local = int(os.environ.get("LOCAL_RANK", "0"))
    cards = torch.cuda.is_available() and not (device or "").startswith("cpu")
    if cards:
        # What processes tell each other goes through the current card, which would be the first for all of them.
        torch.cuda.set_device(local % torch.cuda.device_count())
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if cards else "gloo")
    return World(int(os.environ["RANK"]), size, local)


def leave_world(world: World) -> None:
    """Leave the processes that were joined."""
    if world.size > 1:
        torch.distributed.destroy_process_group()


T = TypeVar("T")


def agreed(value: T, world: World) -> T:
    """The value of the leading process, in all processes."""
    if world.size == 1:
        return value
    values: list[T] = [value]
    torch.distributed.broadcast_object_list(values)
    return values[0]


@contextmanager
def chosen_device(world: World, device: str | None = None, say: Say = quiet) -> Iterator[torch.device]:
    """The device asked for, else a GPU of this process's own, else the CPU.

    Trainings that run side by side, such as folds, take a card each: a card is locked while it trains, and who finds
    none waits. A device that was asked for by name is taken as it is.

    Args:
        world: The processes of this training.
        device: ``cpu``, ``cuda:1`` …
        say: Takes a line if a free card must be waited for.

    Raises:
        InputError: There is no such device.
    """
    if device is not None:
        yield _named(device)
    elif not torch.cuda.is_available():
        yield torch.device("cpu")
    elif world.size > 1:
        yield torch.device("cuda", world.local % torch.cuda.device_count())
    else:
        with hold_one(_card_locks(), say) as card:
            yield torch.device("cuda", card)


def _named(device: str) -> torch.device:
    try:
        named = torch.device(device)
        torch.empty(0, device=named)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"there is no device {device!r} here ({str(error).splitlines()[0]})",
            where="--device",
            remedy="Leave it out to take a GPU if there is one; else cpu, cuda, cuda:1 …",
        ) from None
    return named


def _card_locks() -> list[Path]:
    """A lock file for each card that is seen, by its own name: the same card has other numbers in other jobs."""
    user = os.getuid() if hasattr(os, "getuid") else getpass.getuser()
    folder = Path(tempfile.gettempdir()) / f"organseg-cards-{user}"
    names = [torch.cuda.get_device_properties(card).uuid for card in range(torch.cuda.device_count())]
    return [folder / f"{name}.lock" for name in names]


def use_threads(threads: int | None) -> int:
    """Let torch use the threads that were granted, or what the machine has, whichever is less; gives their number."""
    there = usable_threads()
    count = max(min(threads or there, there), 1)
    torch.set_num_threads(count)
    return count


def use_determinism(deterministic: bool) -> None:
    """Allow only deterministic kernels; on the CPU they all are."""
    torch.use_deterministic_algorithms(deterministic)
    if torch.cuda.is_available():
        torch.backends.cudnn.benchmark = not deterministic
        torch.backends.cudnn.deterministic = deterministic
        if deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def precisions_of(device: torch.device) -> tuple[str, ...]:
    """Precisions that the device computes in hardware, ``fp32`` first. Without that, bf16 is a hundred times slower."""
    if device.type == "cuda":
        return ("fp32", "bf16") if torch.cuda.is_bf16_supported(including_emulation=False) else ("fp32", "fp16")
    if device.type == "cpu" and _cpu_flags() & {"avx512_bf16", "amx_bf16"}:
        return ("fp32", "bf16")
    return ("fp32",)


def _cpu_flags() -> set[str]:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as handle:
            for line in handle:
                if line.startswith("flags"):
                    return set(line.split(":", 1)[1].split())
    except OSError:
        return set()
    return set()


def step_seconds(engine: Engine) -> float:
    """Median time of a step; steps are taken for it and then undone."""
    before: dict[str, Tensor] = {name: value.detach().clone() for name, value in engine.state().items()}
    times = []
    try:
        for step in range(MEASURED + 1):
            _wait(engine.device)
            start = time.perf_counter()
            engine.step(step)
            _wait(engine.device)
            times.append(time.perf_counter() - start)
    finally:
        engine.restore(before)
    return sorted(times[1:])[(len(times) - 1) // 2]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def settle(
    plan: Plan,
    make: Callable[[Settings, bool], Engine],
    settings: Settings,
    device: torch.device,
    say: Say,
    world: World,
) -> tuple[Settings, float | None]:
    """Choose the precision and the micro-batch by trial, where there is a choice.

    Several processes first try a batch each without the others, and agree on what fits all of them.

    Args:
        plan: The plan.
        make: Makes an engine for settings, alone or with the other processes.
        settings: Settings to start from; ``precision`` is what is measured against.
        device: The device.
        say: Takes lines.
        world: The processes of this training.

    Returns:
        The settings, and the seconds of a step where they were measured.
    """
    seconds: float | None = None
    for precision in precisions_of(device):
        if world.size > 1:
            fits = torch.tensor(make(replace(settings, precision=precision), True).fit(0), device=device)
            torch.distributed.all_reduce(fits, torch.distributed.ReduceOp.MIN)
            settings = replace(settings, micro_batch=int(fits.item()))
        if device.type == "cpu" and plan.minutes is None and len(precisions_of(device)) == 1:
            break
        engine = make(replace(settings, precision=precision), False)
        try:
            measured = step_seconds(engine)
        except NotFiniteError:
            say(f"{precision}: a trial step was not finite; not used")
            continue
        note = f"{precision}: {measured:.3f} s a step, {engine.micro_batch} patches at a time"
        if device.type == "cuda":
            note += f", {torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB"
        say(note)
        if seconds is None or measured * WORTH < seconds:
            seconds = measured
            settings = replace(settings, precision=precision, micro_batch=engine.micro_batch)
    return settings, seconds


def steps_in(minutes: float, spent: float, step: float, validation: float) -> int:
    """Steps that fit into a budget.

    Args:
        minutes: The budget.
        spent: Seconds of it that are gone.
        step: Seconds a step.
        validation: Seconds of all validations together.
    """
    left = minutes * 60 - spent - validation
    return max(math.floor(left * SAFETY / step), 1)
