#!/usr/bin/env bash
# Run by `snakemake --sdm conda` in the environment that it made, from the folder of the workflow.
set -euo pipefail
if [ ! -f pyproject.toml ]; then
    echo "--sdm conda installs the checkout it is run in, and this folder is none: leave it away" >&2
    exit 2
fi
pip install -e . -c .ci/constraints.txt
