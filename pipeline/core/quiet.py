"""Nothing calls outside: the one place that silences every tool, before any of them is imported."""

from __future__ import annotations

import os
import sys

#: What tools read when they are loaded; a child process inherits it, on whatever machine it runs.
QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # ONNX Runtime looks up its maker's host and keeps a device id and a queue in the user's cache; only this stops it.
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    # Asking which commit the code is of would otherwise write into the checkout.
    "GIT_OPTIONAL_LOCKS": "0",
}


def silence() -> None:
    """Set the environment, and keep OpenVINO from its telemetry package, which has no switch.

    Runs when ``pipeline`` is imported, which every process of ours does first: commands, the workflow and its jobs, the
    served model, the bundle. It wins over what the environment says: nothing leaves a hospital by a setting forgotten.
    """
    os.environ.update(QUIET)
    # Without that package, OpenVINO takes a stand-in of its own that sends nothing.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
