"""A study from raw scans to its report without Snakemake: ``python study_without_snakemake.py STUDY``.

Snakemake does the same, and runs side by side what can, goes on after a kill, and does again only what changed.
"""

import sys

import organseg

study = sys.argv[1]
config = organseg.load_study(study)
if config.demo:
    organseg.run_stage("demo", study)
for stage in ("ingest", "rle", "plan", "preprocess", "train"):
    organseg.run_stage(stage, study)
# The champion is chosen from predictions of patients that a model did not train on; then the test is opened.
organseg.run_stage("predict", study, part="oof")
organseg.run_stage("evaluate", study, part="oof")
organseg.run_stage("select", study)
organseg.run_stage("predict", study, part="test")
organseg.run_stage("predict", study, part="test", model="champion")
organseg.run_stage("evaluate", study, part="test")
organseg.run_stage("export", study)
organseg.run_stage("report", study)
