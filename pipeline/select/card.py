"""The model card: what the champion is for, what it needs, how good it was, and what it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
    write_text(path, "\n".join(_lines(study, champion, plans, fingerprint or {}, quality or {})) + "\n")


def _lines(
    study: Study,
    champion: Champion,
    plans: Sequence[Plan],
    fingerprint: Mapping[str, Any],
    quality: Mapping[str, Any],
) -> list[str]:
    kind = MODALITIES[champion.modality]
    lines = [
        f"# {study.title or champion.study}: {champion.name}",
        "",
        f"Finds {_listed(champion.organs)} in {kind}. {study.description}".strip(),
        "",
        "## Intended use",
        "",
        INTENDED_USE,
        "",
        "## Input",
        "",
    ]
    for name, plan in {plan.model: plan for plan in plans}.items():
        lines.append(f"- {name}: {_needs(plan)}")
    lines += _trained_on(fingerprint)
    lines += ["", "## Organs", "", "| organ | clean-up |", "|---|---|"]
    lines += [f"| {organ} | {_cleanup(champion, organ)} |" for organ in champion.organs]
    if not champion.overlapping:
        lines += ["", "Organs exclude each other: a voxel belongs to one of them at most."]
    return [*lines, *_figures(champion, quality), *_files_and_use(champion)]


def _figures(champion: Champion, quality: Mapping[str, Any]) -> list[str]:
    """How good it was out of fold, and what verdicts rest on."""
    evidence = champion.evidence
    lines = [
        "",
        "## Figures",
        "",
        f"{evidence.get('patients')} development patients ({evidence.get('scans')} scans), each predicted by networks "
        "that never saw that patient. Dice, mean over organs and patients, with its 95 % bootstrap interval:",
        "",
        "| models | Dice | interval | chosen |",
        "|---|---|---|---|",
    ]
    for row in evidence.get("candidates", []):
        interval = "" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"
        chosen = "yes" if row["chosen"] else ""
        lines.append(f"| {' + '.join(row['models'])} | {row['dice']:.3f} | {interval} | {chosen} |")
    return [
        *lines,
        "",
        f"{evidence.get('rule', '')} The figures of the test patients, which chose nothing, are in the study's report.",
        *(["", _sentence(performance_text(quality))] if quality else []),
        *(
            ["", *(f"- Agreement of {BETWEEN[who]}: {text}." for who, text in quality.get("rests_on", {}).items())]
            if quality
            else []
        ),
    ]


def _files_and_use(champion: Champion) -> list[str]:
    worst = max(champion.backend.parity.values(), default=0.0)
    return [
        "",
        "## Files",
        "",
        "- `champion.yaml`: which networks predict together, clean-up and backend, each with its evidence.",
        "- `members/*/weights.safetensors`, `model.json`: weights for PyTorch and the plan that they were trained by.",
        "- `members/*/model.onnx`: the same networks for ONNX Runtime, from windows to probabilities. Largest "
        f"difference to PyTorch on sample windows: {worst:.1g}.",
        "- `fingerprint.json`: what the training scans were like; `quality.json`: what is usual in them, for verdicts.",
        "- `configs/`, `docs/`: the folder as a MONAI bundle.",
        "",
        "## Use",
        "",
        "    organseg predict SCAN --model FOLDER --out DIR",
        "    python -m monai.bundle run --config_file FOLDER/configs/inference.json --bundle_root FOLDER"
        " --images SCANS --output_dir DIR",
    ]


def _trained_on(fingerprint: Mapping[str, Any]) -> list[str]:
    """The training scans in a few figures."""
    if not fingerprint:
        return []
    lines = ["", "## Trained on", "", f"{fingerprint['scans']} scans, by `fingerprint.json`:"]
    lines += ["", "| | least | median | most |", "|---|---|---|---|"]
    lengths = []
    if fingerprint.get("unit") == "mm":
        part = fingerprint.get("measured", fingerprint["scans"])
        some = "" if part == fingerprint["scans"] else f" ({part} scans; that of the others is unknown)"
        lengths = [("spacing", f"spacing, mm{some}"), ("extent", f"field of view, mm{some}")]
    for key, name in (("size", "voxels"), *lengths):
        columns = (fingerprint[key][column] for column in ("min", "median", "max"))
        cells = (" × ".join(f"{v:.0f}" if v >= 100 else f"{v:.3g}" for v in column) for column in columns)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _listed(names: Sequence[str]) -> str:
    plain = [name.replace("_", " ") for name in names]
    return plain[0] if len(plain) == 1 else f"{', '.join(plain[:-1])} and {plain[-1]}"


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
