"""Dice of ``unet``, ``ternausnet11`` or ``unet_classic`` on chest radiographs at full resolution, for a budget.

``ORGANSEG_DATA=… python tests/benchmarks/train_xray.py --model unet --minutes 15 --test``; arguments as in
``train_hippocampus.py``, which does the work.
"""

from __future__ import annotations

from train_hippocampus import main

if __name__ == "__main__":
    main("chest_xray")
