import json
from pathlib import Path

from tests.field.making import grey, labels, write_nifti


def make(folder: Path) -> None:
    root = folder / "data"
    for person in ("01", "02"):
        raw, derived = f"sub-{person}/anat/sub-{person}", f"derivatives/fmriprep/sub-{person}/anat/sub-{person}"
        write_nifti(root / f"{raw}_T1w.nii.gz", grey(seed=int(person)))
        write_nifti(root / f"sub-{person}/func/sub-{person}_task-rest_bold.nii.gz", grey())
        write_nifti(root / f"{derived}_desc-preproc_T1w.nii.gz", grey(seed=int(person)))
        write_nifti(root / f"{derived}_dseg.nii.gz", labels())
        write_nifti(root / f"{derived}_desc-brain_mask.nii.gz", labels(values=(1,)))
        write_nifti(root / f"{derived}_label-GM_probseg.nii.gz", grey())
        write_nifti(root / f"{derived}_space-MNI_dseg.nii.gz", labels())
    (root / "dataset_description.json").write_text(json.dumps({"Name": "x", "BIDSVersion": "1.9.0"}))
    (root / "participants.tsv").write_text("participant_id\tage\tsplit\nsub-01\t34\tx\nsub-02\tn/a\ty\n")
    (root / "derivatives/fmriprep/dseg.tsv").write_text("index\tname\n1\tGM\n2\tWM\n")
