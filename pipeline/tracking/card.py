"""What a registered champion's page says: its figures, how to get it, and the card that it carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.tracking.figures import headline_table, summary_rows
from pipeline.tracking.names import registered_name

if TYPE_CHECKING:
    from pipeline.inference.champion import Champion

CARD = "card.md"


def champion_figures(paths: StudyPaths, champion: Champion) -> str:
    """The champion's headline table; out of fold, the figures are those of its models."""
    test = [row for row in summary_rows(paths, "test") if row["model"] == "champion"]
    oof = summary_rows(paths, "oof")
    models = sorted({member.model for member in champion.members})
    alone = {f"out of fold, {model}": [row for row in oof if row["model"] == model] for model in models}
    return headline_table({"test": test, **alone}, champion.organs)


def model_card(study: Study, paths: StudyPaths, champion: Champion) -> str:
    """Markdown for the registry and the champion's run."""
    card = paths.champion / CARD
    parts = [
        # Lists of versions show the first line as it is written.
        f"{study.title or paths.study}: {', '.join(champion.organs)}",
        champion_figures(paths, champion),
        f"`organseg predict SCAN --model models:/{registered_name(paths.study)}@champion --out DIR`",
        card.read_text(encoding="utf-8") if card.is_file() else "",
    ]
    return "\n\n".join(part.strip() for part in parts if part)
