"""Out-of-fold figures: what the champion was chosen on, and what the choice was between."""

from __future__ import annotations

from pipeline.inference.agreement import BETWEEN
from pipeline.report.data import Gathered
from pipeline.report.html import (
    Html,
    count,
    details,
    element,
    figure_text,
    interval_text,
    join,
    paragraph,
    section,
    table,
    words,
)
from pipeline.report.results import comparison, figures_table, spread_chart


def selection_section(gathered: Gathered) -> Html:
    """The choice and its evidence; nothing for a study that trains no model."""
    if gathered.study.model:
        return Html("")
    figures = gathered.oof
    if figures is None:
        return section("selection", "Out of fold: how the champion was chosen", paragraph("Nothing was measured."))
    lead = (
        f"{count(figures.scans, 'scan')} of {count(figures.patients, 'development patient')}, each predicted by the "
        "fold that never saw it. The models, their ensemble and every clean-up step were chosen on these figures, so "
        "they flatter the champion and say less of new patients than the test does."
    )
    models = [model for model in figures.models if model != figures.baseline]
    return section(
        "selection",
        "Out of fold: how the champion was chosen",
        paragraph(str(figures.facts.get("note") or ""), "warning"),
        _candidates(gathered),
        _steps(gathered),
        _quality(gathered),
        details(
            "Out-of-fold figures of each model",
            join([figures_table(gathered, figures)]),
        ),
        element("div", spread_chart(gathered, figures, *models), class_="plots"),
        comparison(gathered, figures),
        lead=lead,
    )


def _candidates(gathered: Gathered) -> Html:
    champion = gathered.champion
    candidates = champion.evidence.get("candidates", []) if champion else []
    if not candidates:
        return Html("")
    rows = []
    for one in candidates:
        against = one.get("against_best")
        gain = None if not against else {**against, "mean": against["difference"]}
        rows.append(
            [
                " + ".join(one["models"]),
                interval_text({**one, "mean": one["dice"]}, 4),
                interval_text(gain, 4),
                "yes" if one.get("chosen") else "",
            ]
        )
    head = ("candidate", "Dice out of fold", "gain over the best single model", "chosen")
    rule = str(champion.evidence.get("rule", "")) if champion else ""
    return table(head, rows, caption="Candidates for champion", note=rule)


def _steps(gathered: Gathered) -> Html:
    champion = gathered.champion
    trials = champion.evidence.get("postprocessing", []) if champion else []
    if not trials:
        return Html("")
    rows = [
        [
            words(one["organ"]),
            one["step"].replace("_", " "),
            interval_text({**one, "mean": one["difference"]}, 4),
            "kept" if one["kept"] else "dropped",
        ]
        for one in trials
    ]
    head = ("organ", "clean-up step", "gain of Dice (95 % interval)", "decision")
    return details(
        f"Clean-up steps: {sum(bool(one['kept']) for one in trials)} of {len(trials)} kept",
        table(head, rows, caption="Clean-up of each organ", note="Empty masks as in the table of candidates."),
    )


def _quality(gathered: Gathered) -> Html:
    found = gathered.quality_figures
    if not found:
        return Html("")

    def share(name: str) -> str:
        value = found.get(name)
        return figure_text(value, 2) if isinstance(value, int | float) else "not defined"

    bad, good = int(found.get("bad") or 0), int(found.get("good") or 0)
    limit = float(found.get("dice_limit") or gathered.study.evaluate.dice_limit)
    said = [
        f"Each prediction is also judged without a reference. Out of fold, {bad} of {bad + good} organs were below "
        f"Dice {limit:g}."
    ]
    if bad:
        said.append(f"The verdicts found them with sensitivity {share('sensitivity')}.")
    else:
        said.append("How many such the verdicts would find is not known without any.")
    if good:
        said.append(f"Their specificity was {share('specificity')}.")
    if bad and good:
        said.append(f"The AUROC of their risk was {share('auroc')}.")
    if found.get("covered") is not None:
        said.append(
            f"Of {count(int(found['predicted']), 'Dice', 'Dice')} predicted for held-out patients, "
            f"{found['covered']:.0%} lay in the 90% interval that was given with it."
        )
    rests = found.get("rests_on") or {}
    if rests:
        said += [f"Agreement of {BETWEEN[who]}: {text}." for who, text in rests.items()]
    return paragraph(" ".join(said))
