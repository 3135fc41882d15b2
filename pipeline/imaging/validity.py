"""Whether a scan can be of use at all: asked of every one, whether it is ingested or predicted."""

from __future__ import annotations

import numpy as np

from pipeline.core.arrays import row_chunks
from pipeline.core.errors import InputError
from pipeline.core.limits import check_extent
from pipeline.core.scan import Scan


def fault_of(scan: Scan) -> tuple[str, str] | None:
    """What makes a scan useless: a size that no patient has, NaN or infinity, or one value everywhere.

    Args:
        scan: ``(C, X, Y, Z)``, of any size.

    Returns:
        A short name and a sentence without a final full stop; ``None`` where nothing is wrong.
    """
    if scan.spacing_source != "unknown":
        try:
            check_extent(scan.shape, scan.spacing)
        except InputError as error:
            return "extent", error.what
    for number, channel in enumerate(scan.voxels, 1):
        which = f"channel {number} " if scan.voxels.shape[0] > 1 else "the image "
        lowest, highest, odd = np.inf, -np.inf, 0
        for rows in row_chunks(channel):
            part = channel[rows]
            odd += part.size - int(np.isfinite(part).sum()) if part.dtype.kind == "f" else 0
            lowest, highest = min(lowest, part.min()), max(highest, part.max())
        if odd:
            return "not_finite", f"{which}holds {odd:,} values that are NaN or infinite"
        if lowest == highest:
            return "constant", f"{which}holds one value, {float(lowest):g}, everywhere"
    return None
