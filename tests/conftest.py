"""What all tests share: real data where they are, tools where they are, and quiet libraries."""

import os
import shutil
from pathlib import Path

import pytest

from pipeline.core.quiet import silence

silence()

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data that ``ORGANSEG_DATA`` names; tests that need it skip without."""
    folder = os.environ.get("ORGANSEG_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("no real data: ORGANSEG_DATA names no folder")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def tool():
    """Find a system tool; without it the test skips, or fails where ``ORGANSEG_REQUIRE_TOOLS`` is set."""

    def find(*names: str) -> str:
        for name in names:
            found = shutil.which(name) or next(
                (str(p) for p in Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), None
            )
            if found:
                return found
        message = f"needs {' or '.join(names)}, which is not installed"
        if os.environ.get("ORGANSEG_REQUIRE_TOOLS"):
            pytest.fail(message)
        pytest.skip(message)

    return find
