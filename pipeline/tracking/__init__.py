"""MLflow as the reading room: journals, champions and reports are delivered there, and nothing depends on it.

MLflow is imported by the functions that speak to it, when they run.
"""

from __future__ import annotations

from pipeline.tracking.background import follow
from pipeline.tracking.stages import deliver_champion, deliver_fold, deliver_report, download_model

__all__ = ["deliver_champion", "deliver_fold", "deliver_report", "download_model", "follow"]
