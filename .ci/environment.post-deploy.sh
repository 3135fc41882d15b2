#!/usr/bin/env bash
# Run by `snakemake --sdm conda` in the environment that it made, from the folder of the workflow.
set -euo pipefail
pip install -e . -c .ci/constraints.txt
