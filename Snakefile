# The table of contents: a rule a stage, each the command that a person would type. `organseg --help` explains them.
from pipeline.workflow import cards, open_studies

# Every job reads this file again; only the workflow itself checks the studies, and before the jobs are counted, which is
# too early for `onstart:`. Snakemake documents none of these attributes of `workflow`, and offers nothing else that
# tells a job from the workflow, a dry run from a run, or what `--configfile` and `--resources gpu=` were given.
STUDIES = open_studies(
    config,
    workflow.is_main_process,
    dry=workflow.output_settings.dryrun,
    files=workflow.config_settings.configfiles,
)
CARDS = cards(workflow.global_resources)
# Used only with `--sdm conda`; otherwise jobs run where snakemake itself does.
ENVIRONMENT = ".ci/environment.yaml"


wildcard_constraints:
    study="|".join(STUDIES),
    shard=r"\d+",
    fold=r"\d+",
    part="oof|test",
    model=r"[^/]+",


localrules:
    all,


rule all:
    input:
        [f"results/{study}/report.html" for study in STUDIES],


for demo in [name for name, study in STUDIES.items() if study.is_demo]:

    rule:
        name:
            demo
        output:
            f"data_manifests/{demo}.csv",
            expand("results/{study}/shards/{shard}.csv", study=demo, shard=STUDIES[demo].shards),
        log:
            f"results/{demo}/logs/demo.log",
        benchmark:
            f"results/{demo}/benchmarks/demo.tsv"
        conda:
            ENVIRONMENT
        params:
            study=demo,
            settings=STUDIES[demo].settings("demo"),
        shell:
            "organseg demo --study {params.study} > {log} 2>&1"


rule ingest_shard:
    input:
        lambda w: STUDIES[w.study].rows_of(w.shard),
    output:
        "results/{study}/ingest/{shard}/scans.csv",
        "results/{study}/ingest/{shard}/rejected.csv",
        directory("results/{study}/scans/{shard}"),
        directory("results/{study}/masks/{shard}"),
    log:
        "results/{study}/logs/ingest-{shard}.log",
    benchmark:
        "results/{study}/benchmarks/ingest-{shard}.tsv"
    conda:
        ENVIRONMENT
    shell:
        "organseg ingest --study {wildcards.study} --shard {wildcards.shard} > {log} 2>&1"


rule ingest:
    input:
        lambda w: expand(rules.ingest_shard.output, study=w.study, shard=STUDIES[w.study].shards),
    output:
        report(
            "results/{study}/scans.csv",
            caption="docs/captions/scans.rst",
            category="{study}",
            subcategory="data",
            labels={"figure": "scans that were read"},
        ),
        report(
            "results/{study}/rejected.csv",
            caption="docs/captions/rejected.rst",
            category="{study}",
            subcategory="data",
            labels={"figure": "rows that were rejected"},
        ),
    log:
        "results/{study}/logs/ingest.log",
    benchmark:
        "results/{study}/benchmarks/ingest.tsv"
    conda:
        ENVIRONMENT
    params:
        settings=lambda w: STUDIES[w.study].settings("ingest"),
    shell:
        "organseg ingest --study {wildcards.study} --gather 2>&1 | tee {log}"


rule rle:
    input:
        rules.ingest.output,
    output:
        "results/{study}/masks.rle.csv",
    log:
        "results/{study}/logs/rle.log",
    benchmark:
        "results/{study}/benchmarks/rle.tsv"
    conda:
        ENVIRONMENT
    params:
        settings=lambda w: STUDIES[w.study].settings("rle"),
    shell:
        "organseg rle --study {wildcards.study} > {log} 2>&1"


rule plan:
    input:
        rules.ingest.output,
    output:
        "results/{study}/fingerprint.json",
        report(
            "results/{study}/splits.csv",
            caption="docs/captions/splits.rst",
            category="{study}",
            subcategory="data",
            labels={"figure": "split by patient"},
        ),
        directory("results/{study}/plans"),
    log:
        "results/{study}/logs/plan.log",
    benchmark:
        "results/{study}/benchmarks/plan.tsv"
    conda:
        ENVIRONMENT
    params:
        settings=lambda w: STUDIES[w.study].settings("plan"),
    shell:
        "organseg plan --study {wildcards.study} 2>&1 | tee {log}"


rule preprocess:
    input:
        rules.plan.output,
    output:
        "results/{study}/preprocessed/{model}.json",
    log:
        "results/{study}/logs/preprocess-{model}.log",
    benchmark:
        "results/{study}/benchmarks/preprocess-{model}.tsv"
    conda:
        ENVIRONMENT
    shell:
        "organseg preprocess --study {wildcards.study} --model {wildcards.model} > {log} 2>&1"


rule train:
    input:
        rules.preprocess.output,
    output:
        "results/{study}/models/{model}/fold{fold}/weights.safetensors",
        "results/{study}/models/{model}/fold{fold}/model.json",
        report(
            "results/{study}/models/{model}/fold{fold}/history.csv",
            caption="docs/captions/history.rst",
            category="{study}",
            subcategory="training",
            labels={"figure": "loss and Dice by step", "model": "{model}", "fold": "{fold}"},
        ),
        "results/{study}/models/{model}/fold{fold}/journal.jsonl",
        report(
            "results/{study}/models/{model}/fold{fold}/augmented.png",
            caption="docs/captions/augmented.rst",
            category="{study}",
            subcategory="training",
            labels={"figure": "what the network sees", "model": "{model}", "fold": "{fold}"},
        ),
    log:
        "results/{study}/logs/train-{model}-{fold}.log",
    benchmark:
        "results/{study}/benchmarks/train-{model}-{fold}.tsv"
    conda:
        ENVIRONMENT
    # Trainings that run side by side, a card each, share the cores.
    threads: max(1, (workflow.cores - 1) // CARDS)
    resources:
        gpu=1,
    params:
        start=lambda w: STUDIES[w.study].start(w.model),
    shell:
        "organseg train --study {wildcards.study} --model {wildcards.model} --fold {wildcards.fold}"
        " --threads {threads} 2>&1 | tee {log}"


rule predict:
    input:
        lambda w: expand(rules.train.output, fold=STUDIES[w.study].folds, allow_missing=True),
        lambda w: rules.select.output if w.part == "test" else [],
    output:
        directory("results/{study}/predictions/{part}/{model}"),
    log:
        "results/{study}/logs/predict-{part}-{model}.log",
    benchmark:
        "results/{study}/benchmarks/predict-{part}-{model}.tsv"
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        gpu=1,
    shell:
        "organseg predict --study {wildcards.study} --part {wildcards.part} --model {wildcards.model}"
        " --threads {threads} > {log} 2>&1"


rule predict_champion:
    input:
        "results/{study}/champion.yaml",
        "results/{study}/scans.csv",
    output:
        directory("results/{study}/predictions/champion"),
    log:
        "results/{study}/logs/predict-champion.log",
    benchmark:
        "results/{study}/benchmarks/predict-champion.tsv"
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        gpu=1,
    params:
        probabilities=lambda w: STUDIES[w.study].keeps_probabilities,
    shell:
        "organseg predict --study {wildcards.study} --part test --model champion --threads {threads} > {log} 2>&1"


rule evaluate_shard:
    input:
        lambda w: expand(
            "results/{study}/predictions/{part}/{model}", model=STUDIES[w.study].models, allow_missing=True
        ),
        lambda w: "results/{study}/predictions/champion" if w.part == "test" else [],
    output:
        "results/{study}/metrics/{part}/shards/{shard}.csv",
    log:
        "results/{study}/logs/evaluate-{part}-{shard}.log",
    benchmark:
        "results/{study}/benchmarks/evaluate-{part}-{shard}.tsv"
    conda:
        ENVIRONMENT
    params:
        settings=lambda w: STUDIES[w.study].settings("evaluate"),
    shell:
        "organseg evaluate --study {wildcards.study} --part {wildcards.part} --shard {wildcards.shard} > {log} 2>&1"


rule evaluate:
    input:
        lambda w: expand(rules.evaluate_shard.output, shard=STUDIES[w.study].shards, allow_missing=True),
    output:
        "results/{study}/metrics/{part}/per_scan.csv",
        report(
            "results/{study}/metrics/{part}/summary.csv",
            caption="docs/captions/summary.rst",
            category="{study}",
            subcategory="figures",
            labels={"figure": "means with intervals", "patients": "{part}"},
        ),
        "results/{study}/metrics/{part}/summary.json",
        report(
            "results/{study}/metrics/{part}/paired.csv",
            caption="docs/captions/paired.rst",
            category="{study}",
            subcategory="figures",
            labels={"figure": "models against each other", "patients": "{part}"},
        ),
        "results/{study}/metrics/{part}/volumes.csv",
        "results/{study}/metrics/{part}/conventions.csv",
    log:
        "results/{study}/logs/evaluate-{part}.log",
    benchmark:
        "results/{study}/benchmarks/evaluate-{part}.tsv"
    conda:
        ENVIRONMENT
    shell:
        "organseg evaluate --study {wildcards.study} --part {wildcards.part} --gather 2>&1 | tee {log}"


rule select:
    input:
        lambda w: STUDIES[w.study].evidence(rules.evaluate.output),
    output:
        report(
            "results/{study}/champion.yaml",
            caption="docs/captions/champion.rst",
            category="{study}",
            subcategory="champion",
            labels={"figure": "what was chosen, and why"},
        ),
        directory("results/{study}/champion"),
    log:
        "results/{study}/logs/select.log",
    benchmark:
        "results/{study}/benchmarks/select.tsv"
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        gpu=1,
    params:
        settings=lambda w: STUDIES[w.study].settings("select"),
    shell:
        "organseg select --study {wildcards.study} --threads {threads} 2>&1 | tee {log}"


rule export:
    input:
        rules.predict_champion.output,
    output:
        report(
            directory("results/{study}/exports"),
            patterns=["contact_sheets/{sheet}.png"],
            caption="docs/captions/overlays.rst",
            category="{study}",
            subcategory="test patients",
            labels={"figure": "overlays", "sheet": "{sheet}"},
        ),
    log:
        "results/{study}/logs/export.log",
    benchmark:
        "results/{study}/benchmarks/export.tsv"
    conda:
        ENVIRONMENT
    params:
        settings=lambda w: STUDIES[w.study].settings("export"),
    shell:
        "organseg export --study {wildcards.study} > {log} 2>&1"


rule report:
    input:
        rules.rle.output,
        rules.export.output,
        lambda w: STUDIES[w.study].figures(rules.evaluate.output),
    output:
        report(
            "results/{study}/report.html",
            caption="docs/captions/report.rst",
            category="{study}",
            labels={"figure": "the report"},
        ),
    log:
        "results/{study}/logs/report.log",
    benchmark:
        "results/{study}/benchmarks/report.tsv"
    conda:
        ENVIRONMENT
    params:
        settings=lambda w: STUDIES[w.study].settings("report"),
    shell:
        "organseg report --study {wildcards.study} 2>&1 | tee {log}"
