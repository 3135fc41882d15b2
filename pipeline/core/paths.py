"""Where everything of a study lies under ``results/<study>/``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.core.names import below


@dataclass(frozen=True)
class StudyPaths:
    """The places of one study.

    Attributes:
        study: Name of the study.
        root: Folder that holds ``configs``, ``data_manifests`` and ``results``.
    """

    study: str
    root: Path = Path()

    @property
    def results(self) -> Path:
        """Everything that came of the study."""
        return below(self.root, "results", self.study)

    @property
    def form(self) -> Path:
        """Version of the form of these results."""
        return self.results / "format.json"

    def shard_manifest(self, shard: int) -> Path:
        """Rows of the manifest that fall into a shard."""
        return self.results / "shards" / f"{shard}.csv"

    def ingest(self, shard: int) -> Path:
        """``scans.csv`` and ``rejected.csv`` of one shard."""
        return self.results / "ingest" / str(shard)

    def scan(self, shard: int | str, scan_id: str) -> Path:
        """An ingested scan."""
        return below(self.results, "scans", str(shard), f"{scan_id}.nii.gz")

    def mask(self, shard: int | str, scan_id: str) -> Path:
        """An ingested label map."""
        return below(self.results, "masks", str(shard), f"{scan_id}.nii.gz")

    @property
    def scans_csv(self) -> Path:
        """Every ingested scan."""
        return self.results / "scans.csv"

    @property
    def rejected_csv(self) -> Path:
        """Every row that was not ingested, with its reason."""
        return self.results / "rejected.csv"

    @property
    def masks_rle(self) -> Path:
        """All masks as run lengths."""
        return self.results / "masks.rle.csv"

    @property
    def fingerprint(self) -> Path:
        """What the development patients' scans are like."""
        return self.results / "fingerprint.json"

    @property
    def splits(self) -> Path:
        """Test, development and fold of each patient."""
        return self.results / "splits.csv"

    def plan(self, model: str) -> Path:
        """A model's plan."""
        return below(self.results, "plans", f"{model}.yaml")

    def lock(self, *work: object) -> Path:
        """The lock of one piece of work, named by its parts."""
        return self.results / ".locks" / ("-".join(str(part) for part in work) + ".lock")

    def preprocessed(self, recipe: str) -> Path:
        """Scans prepared by one recipe, shared by the models that have it."""
        return self.results / "preprocessed" / recipe

    def preprocessed_for(self, model: str) -> Path:
        """Names the recipe folder that a model reads, once it is complete."""
        return below(self.results, "preprocessed", f"{model}.json")

    def model(self, model: str, fold: int) -> Path:
        """A trained model of one fold."""
        return below(self.results, "models", model, f"fold{fold}")

    def checkpoints(self, key: str) -> Path:
        """Checkpoints of a training, by a hash of its inputs, outside what the workflow removes before a rerun."""
        return self.results / "checkpoints" / key

    def predictions(self, part: str, model: str) -> Path:
        """Predicted label maps: ``part`` is ``oof`` or ``test``; the champion has a folder of its own."""
        if model == "champion":
            return self.results / "predictions" / "champion"
        return below(self.results, "predictions", part, model)

    def metrics(self, part: str) -> Path:
        """Figures of ``oof`` or ``test`` predictions."""
        return self.results / "metrics" / part

    @property
    def champion(self) -> Path:
        """The chosen model, ready to be used elsewhere."""
        return self.results / "champion"

    @property
    def champion_yaml(self) -> Path:
        """What was chosen, and on what evidence."""
        return self.results / "champion.yaml"

    @property
    def exports(self) -> Path:
        """The champion's predictions in the formats of the people who asked."""
        return self.results / "exports"

    @property
    def report(self) -> Path:
        """The report."""
        return self.results / "report.html"

    @property
    def tracking(self) -> Path:
        """Journals and marks of what was delivered to MLflow."""
        return self.results / "tracking"


def shipped() -> Path:
    """Folder of the Snakefile, ``profiles/`` and the demo studies' ``configs/``: in the package, else the checkout."""
    package = Path(__file__).parents[1]
    return package / "shipped" if (package / "shipped").is_dir() else package.parent
