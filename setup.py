"""Lays the workflow into the package when it is built; everything else of the build stands in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

#: What `organseg run` needs in a folder that is no checkout; in a checkout it is read where it lies.
WORKFLOW = ("Snakefile", ".ci/environment*", "docs/captions/*.rst", "profiles/default/*", "configs/demo_*.yaml")


class BuildWithWorkflow(build_py):
    """As ever, and the workflow's files as `pipeline/shipped/`."""

    def run(self) -> None:
        """Build; an editable installation finds these files in the checkout."""
        super().run()
        if self.editable_mode:
            return
        for path in (found for pattern in WORKFLOW for found in Path().glob(pattern)):
            target = Path(self.build_lib, "pipeline", "shipped", path)
            target.parent.mkdir(parents=True, exist_ok=True)
            self.copy_file(str(path), str(target))


setup(cmdclass={"build_py": BuildWithWorkflow})
