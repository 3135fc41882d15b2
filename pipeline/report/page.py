"""The page as a whole: one HTML file with its style, its script, the charts' library and nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.resources import files

from pipeline.report.html import Html, element, join

#: No request leaves the page; Vega compiles its expressions.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
    "font-src data:; base-uri 'none'; form-action 'none'"
)

NAV = {
    "summary": "Summary",
    "data": "Data",
    "split": "Split",
    "plan": "Plan",
    "training": "Training",
    "test": "Test",
    "gallery": "Gallery",
    "scans": "Scans",
    "selection": "Out of fold",
    "provenance": "Provenance",
}


@cache
def chart_library() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script, as vl-convert brings them; takes about two seconds."""
    import vl_convert

    code = str(vl_convert.javascript_bundle())  # type: ignore[call-arg]
    return "(()=>{" + code.replace("</script", "<\\/script") + "\n})();"


def page(title: str, subtitle: str, sections: Sequence[Html], *, charts: bool = True) -> str:
    """Assemble the page.

    Args:
        title: Of the study.
        subtitle: What the scans are.
        sections: In order; empty ones are left out.
        charts: Whether any section has a chart to draw.
    """
    here = files("pipeline.report")
    style = (here / "style.css").read_text(encoding="utf-8")
    script = (here / "script.js").read_text(encoding="utf-8")
    body = join(sections)
    links = [
        element("a", name, href=f"#{key}")
        for key, name in NAV.items()
        if f'<section id="{key}"' in body or f'id="{key}"' in body
    ]
    theme = Html('<button type="button" id="theme" aria-label="Change between light and dark">◐</button>')
    header = element(
        "header",
        join([element("div", join([element("h1", title), element("p", subtitle)]), class_="title"),
              element("nav", join([*links, theme]), aria_label="Sections")]),
    )  # fmt: skip
    library = f"<script>{chart_library()}</script>" if charts else ""
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{escape(title)}</title>'
        f'<link rel="icon" href="data:,"><style>{style}</style></head>\n'
        f'<body><a class="skip" href="#summary">To the summary</a>{header}<main>{body}</main>'
        f"{library}<script>{script}</script></body></html>\n"
    )
