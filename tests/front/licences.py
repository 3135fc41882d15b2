"""Writes ``docs/licences.md``: every package that an ordinary installation brings, with its licence.

Run ``python -m tests.front.licences > docs/licences.md`` when the dependencies have changed; a test says so.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator

from packaging.requirements import Requirement

#: Licences whose terms reach what is passed on together with them, and what that means here.
NOTES = {
    "certifi": "MPL: its own file only, which is passed on as it is.",
    "docutils": "Public domain but for a few files of other licences; the GPL one, an editor's mode, is not installed.",
}
#: Packages that forgot their licence in what they publish; by the file LICENSE of their repositories.
FORGOTTEN = {"flask-cors": "MIT"}
COPYLEFT = re.compile(r"\b(A?GPL|LGPL|MPL|EPL|CDDL|EUPL)|General Public|Mozilla", re.IGNORECASE)
HEAD = """# Licences of what is installed

What `pip install organseg -c .ci/constraints.txt` brings on Linux, by each package's own metadata. organseg changes
none of it. A PyTorch that is built for CUDA brings NVIDIA's libraries too, under NVIDIA's own terms.

| package | licence | a word on it |
|---|---|---|
"""


def closure(name: str, extras: frozenset[str] = frozenset()) -> Iterator[tuple[str, importlib.metadata.Distribution]]:
    """Every package that a package needs, itself not among them, by the environment that is installed."""
    seen: set[tuple[str, str]] = set()
    waiting = [(name, extra) for extra in ("", *extras)]
    while waiting:
        package, extra = waiting.pop()
        for text in importlib.metadata.requires(package) or ():
            needed = Requirement(text)
            key = re.sub(r"[-_.]+", "-", needed.name).lower()
            if needed.marker and not needed.marker.evaluate({"extra": extra}):
                continue
            for wanted in ("", *needed.extras):
                if (key, wanted) in seen:
                    continue
                try:
                    found = importlib.metadata.distribution(key)
                except importlib.metadata.PackageNotFoundError:
                    continue  # for another system
                if not any(other == key for other, _ in seen):
                    yield key, found
                seen.add((key, wanted))
                waiting.append((key, wanted))


def licence(package: importlib.metadata.Distribution) -> str:
    """A package's licence in its own words: the expression, else the classifiers, else the first line of the field."""
    about = package.metadata
    if expression := about.get("License-Expression"):
        return str(expression)
    kinds = [text.split(" :: ")[-1] for text in about.get_all("Classifier", []) if text.startswith("License :: ")]
    kinds = [kind for kind in kinds if kind != "OSI Approved"]
    if kinds:
        return ", ".join(sorted(kinds))
    said = str(about.get("License") or "").strip().split("\n")[0][:60]
    return said or next((kind for file in package.files or () if (kind := _by_text(file))), "not said")


def _by_text(file: importlib.metadata.PackagePath) -> str:
    """The licence that a package's own copy of it begins with; empty for other files."""
    if not file.name.upper().startswith(("LICENSE", "LICENCE", "COPYING")):
        return ""
    text = " ".join(file.read_text(encoding="utf-8").split())
    known = {"MIT License": "MIT", "Apache License": "Apache", "Permission is hereby granted, free": "MIT"}
    known |= {"Redistribution and use in source and binary forms": "BSD", "BSD 3-Clause": "BSD"}
    return next((kind for words, kind in known.items() if words in text[:2000]), "")


def table() -> str:
    """The page."""
    rows = sorted((name, FORGOTTEN.get(name) or licence(found)) for name, found in closure("organseg"))
    return HEAD + "".join(f"| {name} | {said} | {NOTES.get(name, '')} |\n" for name, said in rows)


if __name__ == "__main__":
    print(table(), end="")
