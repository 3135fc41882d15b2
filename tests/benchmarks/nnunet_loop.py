"""Run inside nnU-Net's own environment by ``train_nnunet.py``: its trainer, step and schedule over the minutes given.

    python nnunet_loop.py train DATASET MINUTES | time DATASET STEPS

nnU-Net's plan, network, loss, augmentation, optimiser and polynomial schedule are left as they are; the schedule is
stretched over the budget step by step instead of over 1,000 epochs, and its validation epochs are left out, which
gives it the more steps. The folders come from nnU-Net's environment variables.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


def make_trainer(dataset: str) -> nnUNetTrainer:
    """nnU-Net's trainer for fold 0 of the 3-D configuration."""
    folder = Path(str(nnUNet_preprocessed)) / dataset
    plans = load_json(str(folder / "nnUNetPlans.json")) | {"continue_training": False}
    trainer = nnUNetTrainer(plans, "3d_fullres", 0, load_json(str(folder / "dataset.json")), torch.device("cpu"))
    trainer.on_train_start()
    trainer.network.train()
    return trainer


def train(dataset: str, minutes: float) -> None:
    """Train and write ``checkpoint_final.pth``."""
    trainer = make_trainer(dataset)
    start, steps = time.perf_counter(), 0
    while (done := (time.perf_counter() - start) / (60 * minutes)) < 1:
        for group in trainer.optimizer.param_groups:
            group["lr"] = trainer.initial_lr * (1 - done) ** 0.9
        loss = trainer.train_step(next(trainer.dataloader_train))["loss"]
        steps += 1
        print(f"nnU-Net, step {steps}, {done:.0%} of the time, loss {float(loss):.4f}", flush=True)
    trainer.on_train_end()
    print(f"nnU-Net: {steps} steps of batch {trainer.batch_size} in {minutes:g} minutes", flush=True)


def clock(dataset: str, steps: int) -> None:
    """Print processor seconds of a step, batch included."""
    trainer = make_trainer(dataset)
    spent = []
    for _ in range(steps + 1):
        start = time.process_time()
        trainer.train_step(next(trainer.dataloader_train))
        spent.append(time.process_time() - start)
    middle = sorted(spent[1:])[steps // 2]
    print(f"nnU-Net's trainer: {middle:.3f} CPU seconds a step, batch {trainer.batch_size}, augmentation included")


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(sys.argv[2], float(sys.argv[3])) if sys.argv[1] == "train" else clock(sys.argv[2], int(sys.argv[3]))
