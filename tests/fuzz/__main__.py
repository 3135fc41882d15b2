"""``python -m tests.fuzz --minutes N``: mutated files at every reader; what fails is kept in ``tests/fuzz/corpus``.

Each file is read in a process of its own kind that can be killed, so a crash or a hang is found too. It ends with exit
code 1 where something failed. ``test_corpus.py`` reads the kept files in the ordinary tests, so that a fault that was
mended stays mended.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from collections import Counter
from itertools import cycle
from pathlib import Path

import numpy as np

from pipeline.core.errors import InputError
from pipeline.formats.worker import KilledError, Worker
from tests.fuzz.mutations import mutate
from tests.fuzz.targets import MEMORY_GIB, TARGETS

CORPUS = Path(__file__).parent / "corpus"
SECONDS = 20.0
#: Native decoders may crash: that is what they run in workers for.
NATIVE = {"image", "mask"}


def trial(target: str, path: str) -> dict[str, str]:
    """In the worker: read a file; how it ended."""
    try:
        TARGETS[target].run(Path(path))
    except InputError as error:
        return {"ended": "refused", "said": error.what}
    except MemoryError:
        raise  # the worker's limit, as of a crash
    except Exception as error:
        return {"ended": "fault", "said": f"{type(error).__name__}: {error}"[:300]}
    return {"ended": "read", "said": ""}


def fuzz(minutes: float, seed: int, folder: Path) -> Counter[str]:
    """Mutate and read until the time is over, one target after the other.

    Args:
        minutes: How long.
        seed: Of the mutations.
        folder: Where files that fail are kept.
    """
    draw = np.random.default_rng(seed)
    seeds = {name: list(target.seeds()) for name, target in TARGETS.items()}
    counts: Counter[str] = Counter()
    end = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as place, Worker(SECONDS, MEMORY_GIB) as worker:
        for name in cycle(TARGETS):
            if time.monotonic() > end:
                break
            for _ in range(20):
                ending, whole = seeds[name][int(draw.integers(len(seeds[name])))]
                raw = mutate(whole, ending, draw)
                path = Path(place) / f"case.{ending}"
                path.write_bytes(raw)
                try:
                    answer = worker.call(f"{__spec__.name}:trial", {"target": name, "path": str(path)})
                except KilledError as error:
                    answer = {"ended": "killed", "said": error.what}
                except InputError as error:
                    answer = {"ended": "fault", "said": error.what}
                counts[f"{name}: {answer['ended']}"] += 1
                if answer["ended"] == "fault" or (answer["ended"] == "killed" and name not in NATIVE):
                    counts["failed"] += 1
                    kept = folder / name / f"{hashlib.sha256(raw).hexdigest()[:12]}.{ending}"
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    kept.write_bytes(raw)
                    print(f"{name}: {answer['said']}\n  kept as {kept}", flush=True)
    return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="by default another one each time")
    parser.add_argument("--keep", type=Path, default=CORPUS, help="folder for the files that fail")
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}, {chosen.minutes:g} minutes", flush=True)
    found = fuzz(chosen.minutes, chosen.seed, chosen.keep)
    for what, count in sorted(found.items()):
        print(f"{count:7d} {what}")
    sys.exit(1 if found["failed"] else 0)
