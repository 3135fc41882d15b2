"""The model card: what the champion is for, what it needs, how good it was, and what it is not; see ``card.md``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.core.files import write_text
from pipeline.core.plan import Plan
from pipeline.core.study import Study
from pipeline.inference.agreement import BETWEEN
from pipeline.inference.champion import Champion
from pipeline.quality.performance import performance_text

MODALITIES = {"xray": "radiographs", "mri": "MRI volumes", "ct": "CT volumes", "photo": "photographs"}
INTENDED_USE = (
    "Research on scans like those that it was trained on. It is not a medical device: it was not cleared by any "
    "authority, and a person must look at every result before it is used for anything."
)


def write_card(
    path: Path,
    study: Study,
    champion: Champion,
    plans: Sequence[Plan],
    fingerprint: Mapping[str, Any] | None = None,
    quality: Mapping[str, Any] | None = None,
) -> None:
    """Write the card as Markdown.

    Args:
        path: The file.
        study: The study.
        champion: What was chosen.
        plans: The plans of its members.
        fingerprint: What the training scans were like, as ``plan`` says it.
        quality: How well the verdicts found bad segmentations out of fold.
    """
    templates = Environment(
        loader=PackageLoader("pipeline.select"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    *first, last = (name.replace("_", " ") for name in champion.organs)
    verdicts = performance_text(quality) if quality else ""
    text = templates.get_template("card.md").render(
        study=study,
        champion=champion,
        organs=f"{', '.join(first)} and {last}" if first else last,
        kind=MODALITIES[champion.modality],
        intended_use=INTENDED_USE,
        inputs=[(name, _needs(plan)) for name, plan in {plan.model: plan for plan in plans}.items()],
        fingerprint=fingerprint,
        trained_on=_trained_on(fingerprint) if fingerprint else [],
        cleanup=[(organ, _cleanup(champion, organ)) for organ in champion.organs],
        evidence={"patients": None, "scans": None, "candidates": [], "rule": "", **champion.evidence},
        verdicts=f"{verdicts[:1].upper()}{verdicts[1:]}." if verdicts else "",
        rests_on=[(BETWEEN[who], text) for who, text in (quality or {}).get("rests_on", {}).items()],
        parity=max(champion.backend.parity.values(), default=0.0),
    )
    write_text(path, text)


def _trained_on(fingerprint: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Least, median and most of the training scans' sizes, and of their lengths where these are known."""
    names = {"size": "voxels"}
    if fingerprint.get("unit") == "mm":
        part = fingerprint.get("measured", fingerprint["scans"])
        some = "" if part == fingerprint["scans"] else f" ({part} scans; that of the others is unknown)"
        names |= {"spacing": f"spacing, mm{some}", "extent": f"field of view, mm{some}"}
    return [
        (
            name,
            [
                " × ".join(f"{v:.0f}" if v >= 100 else f"{v:.3g}" for v in fingerprint[key][column])
                for column in ("min", "median", "max")
            ],
        )
        for key, name in names.items()
    ]


def _needs(plan: Plan) -> str:
    channels = f"{plan.in_channels} channel{'s' if plan.in_channels > 1 else ''}"
    if plan.size is not None:
        grid = f"fitted into {' × '.join(map(str, plan.size))} pixels"
    elif plan.spacing is not None:
        grid = f"resampled to {' × '.join(f'{s:g}' for s in plan.spacing)} mm"
    else:
        grid = "at their own resolution"
    windows = " × ".join(map(str, plan.patch))
    return f"{channels}, {grid}, normalised by `{plan.normalisation['name']}`, seen through windows of {windows}."


def _cleanup(champion: Champion, organ: str) -> str:
    steps = champion.postprocessing.get(organ)
    if steps is None:
        return "none"
    done = [
        f"threshold {steps.threshold:g}" if steps.threshold is not None else "",
        "largest component" if steps.largest_component else "",
        "holes filled" if steps.fill_holes else "",
        f"nothing smaller than {steps.smallest:g}" if steps.smallest else "",
    ]
    return ", ".join(part for part in done if part)
