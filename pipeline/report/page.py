"""The page as a whole: one HTML file with its style, its script, the charts' library and nothing from elsewhere.

Every section is a template of its name under ``templates/`` and a function that computes what the template shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.report import cohort, first, gallery, provenance, results, selection, training
from pipeline.report.data import Gathered
from pipeline.report.text import FILTERS, is_figure

#: The page sends no request anywhere. ``unsafe-eval`` is there because Vega compiles its expressions.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
    "font-src data:; base-uri 'none'; form-action 'none'"
)

#: Section → its name in the navigation, and what its template shows; ``None`` leaves the section out.
SECTIONS: dict[str, tuple[str, Callable[[Gathered], Mapping[str, Any] | None]]] = {
    "summary": ("Summary", first.shown),
    "data": ("Data", cohort.data),
    "split": ("Split", cohort.split),
    "plan": ("Plan", training.plans),
    "training": ("Training", training.trainings),
    "test": ("Test", results.test),
    "gallery": ("Gallery", gallery.pictures),
    "scans": ("Scans", gallery.scans),
    "selection": ("Out of fold", selection.shown),
    "provenance": ("Provenance", provenance.shown),
}


@cache
def environment() -> Environment:
    """The templates: everything put into them is escaped, and a name that they do not know is an error."""
    made = Environment(
        loader=PackageLoader("pipeline.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":"), "sort_keys": True}
    made.filters.update(FILTERS)
    made.tests["figure"] = is_figure
    return made


@cache
def chart_library() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script, as vl-convert brings them; takes about two seconds."""
    import vl_convert

    code = str(vl_convert.javascript_bundle())  # type: ignore[call-arg]
    return "(()=>{" + code.replace("</script", "<\\/script") + "\n})();"


def section(name: str, gathered: Gathered) -> str:
    """One section's HTML; empty where there is nothing to show."""
    shown = SECTIONS[name][1](gathered)
    if shown is None:
        return ""
    shared = {"gathered": gathered, "study": gathered.study, "colors": gathered.study.colors()}
    return environment().get_template(f"{name}.html").render(**shared, **shown)


def page(gathered: Gathered) -> str:
    """All sections as one file."""
    here = files("pipeline.report")
    found = {name: section(name, gathered) for name in SECTIONS}
    return (
        environment()
        .get_template("page.html")
        .render(
            title=gathered.study.title or gathered.paths.study,
            subtitle=gathered.study.description,
            policy=POLICY,
            style=(here / "style.css").read_text(encoding="utf-8"),
            script=(here / "script.js").read_text(encoding="utf-8"),
            library=chart_library(),
            sections={name: html for name, html in found.items() if html},
            titles={name: title for name, (title, _) in SECTIONS.items()},
        )
    )
