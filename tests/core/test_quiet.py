"""Every process of ours is silent before it loads anything that could call home."""

import os
import subprocess
import sys

from pipeline.core.quiet import QUIET


def test_importing_us_silences_every_tool_whatever_the_environment_says() -> None:
    loud = dict.fromkeys(QUIET, "")
    code = (
        "import os, sys, pipeline\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
        "print(*(f'{n}={v}' for n, v in os.environ.items()), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **loud}, capture_output=True, text=True, check=True
    )
    assert {f"{name}={value}" for name, value in QUIET.items()} <= set(done.stdout.splitlines())


def test_onnx_runtime_is_silenced_too() -> None:
    # Found by looking at its lookups with strace: no other variable stops them.
    assert QUIET["ORT_DISABLE_TELEMETRY"] == "1"
