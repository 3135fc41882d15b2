"""``python -m monai.bundle run`` on a champion's folder: what ``organseg predict`` does, with MONAI's inferers.

``configs/inference.json`` in the folder names :class:`BundleRun`, which MONAI makes and runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import EXIT_BAD_INPUT, EXIT_SOME_FAILED, InputError

if TYPE_CHECKING:
    from pipeline.predict.bundle import Probabilities


class BundleRun:
    """Segments every scan in a file or folder.

    Args:
        bundle_root: The champion's folder.
        networks: Its members, in order.
        inferers: A MONAI inferer for each.
        images: File or folder of scans, or a manifest.
        output_dir: Folder for ``nifti/`` and ``predictions.csv``, as ``organseg predict`` writes them.
    """

    def __init__(
        self,
        bundle_root: str,
        networks: Sequence[Probabilities],
        inferers: Sequence[Callable[..., Any]],
        images: str,
        output_dir: str,
    ) -> None:
        from pipeline.cli.predict import study_of
        from pipeline.export.forms import Job
        from pipeline.inference.champion import read_champion
        from pipeline.predict.bundle import bundle_predictor

        self.champion = read_champion(Path(bundle_root))
        self.images = Path(images)
        self.job = Job(study_of(self.champion, ["nifti"]), self.champion.name, self.champion.study, Path(output_dir))
        self.predictor = bundle_predictor(self.champion, networks, inferers)

    def run(self) -> list[str]:
        """Predict, write and read back; gives the names of the scans.

        Raises:
            SystemExit: 2 where there is nothing to predict, 3 where a scan failed, as ``organseg predict`` ends: MONAI
                would bury any other error in its own.
        """
        from pipeline.cli.inputs import find_inputs
        from pipeline.cli.outcomes import COLUMNS, Table, table_rows
        from pipeline.cli.predict import Steps
        from pipeline.core.files import write_table

        try:
            inputs = list(find_inputs([self.images], self.champion.modality, self.champion.ingest))
            if not inputs:
                raise InputError("holds no scan", where=str(self.images))
        except InputError as error:
            print(f"organseg: {error}", file=sys.stderr)
            raise SystemExit(EXIT_BAD_INPUT) from None
        table = Table(as_json=False)
        outcomes = []
        # No judge: MONAI's inferers do not say how far mirrored windows agree, by which verdicts were calibrated.
        steps = Steps(self.predictor, self.job, None, False)
        for one in inputs:
            outcomes.append(steps.write(steps.predict(steps.read(one))))
            table.show(outcomes[-1])
        rows = [row for outcome in outcomes for row in table_rows(outcome)]
        write_table(self.job.out / "predictions.csv", rows, COLUMNS)
        if any(outcome.reason for outcome in outcomes):
            raise SystemExit(EXIT_SOME_FAILED)
        return [outcome.name for outcome in outcomes]
