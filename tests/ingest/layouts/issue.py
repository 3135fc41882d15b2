"""Layouts that a draft must tell, by the shapes that people keep."""

from tests.ingest.layouts.tree import Layout

P3 = ["00", "01", "02"]
LAYOUTS = {
    "patient folders": Layout(
        "patient{p}/image.nii.gz", {"": "patient{p}/mask.nii.gz"}, "{p}", {"p": list("0123")}, values_of=2
    ),
    "sites": Layout(
        "site{s}/images/{n}.nii.gz",
        {"": "site{s}/masks/{n}.nii.gz"},
        "{s}{n}",
        {"s": ["A", "B"], "n": ["000", "001", "002"]},
        values_of=2,
    ),
    "patients below images and masks": Layout(
        "images/p{p}/{n}.png", {"": "masks/p{p}/{n}.png"}, "{p}", {"p": list("012"), "n": ["1", "2"]}
    ),
    "organs below cases": Layout(
        "images/{c}.png",
        {"heart": "masks/{c}/heart.png", "left_lung": "masks/{c}/left_lung.png"},
        "{c}",
        {"c": ["WS01", "WS02", "WS03"]},
    ),
    "cases below organs": Layout(
        "images/{c}.png",
        {"heart": "masks_by_class/heart/{c}.png", "left_lung": "masks_by_class/left_lung/{c}.png"},
        "{c}",
        {"c": ["WS01", "WS02", "WS03"]},
    ),
    "LGG": Layout(
        "kaggle_3m/TCGA_{p}_19960909/TCGA_{p}_19960909_{n}.tif",
        {"": "kaggle_3m/TCGA_{p}_19960909/TCGA_{p}_19960909_{n}_mask.tif"},
        "{p}",
        {"p": ["CS_4941", "CS_4942", "DU_5849"], "n": list("123")},
        others=["kaggle_3m/data.csv", "kaggle_3m/README.md"],
    ),
    "KiTS": Layout(
        "case_{n}/imaging.nii.gz", {"": "case_{n}/segmentation.nii.gz"}, "{n}", {"n": ["00000", "00001"]}, values_of=2
    ),
    "TotalSegmentator CT": Layout(
        "s{n}/ct.nii.gz",
        {o: f"s{{n}}/segmentations/{o}.nii.gz" for o in ("liver", "rib_left_1", "vertebrae_L1")},
        "{n}",
        {"n": ["0001", "0002", "0011"]},
        others=["meta.csv"],
    ),
    "TotalSegmentator MRI": Layout(
        "s{n}/mri.nii.gz",
        {"liver": "s{n}/segmentations/liver.nii.gz", "spleen": "s{n}/segmentations/spleen.nii.gz"},
        "{n}",
        {"n": ["0001", "0002", "0011"]},
    ),
    "BraTS": Layout(
        ";".join(f"BraTS20_{{n}}/BraTS20_{{n}}_{c}.nii.gz" for c in ("flair", "t1", "t1ce", "t2")),
        {"": "BraTS20_{n}/BraTS20_{n}_seg.nii.gz"},
        "{n}",
        {"n": ["Training_001", "Training_002", "Training_010"]},
        without=[{"n": "Validation_001"}],
        values_of=2,
    ),
    "BTCV": Layout(
        "img/img{n}.nii.gz", {"": "label/label{n}.nii.gz"}, "{n}", {"n": ["0001", "0002", "0010"]}, values_of=3
    ),
    "LiTS": Layout("volume-{n}.nii", {"": "segmentation-{n}.nii"}, "{n}", {"n": ["0", "1", "10"]}, values_of=2),
    "visits": Layout(
        "images/p{p}_visit{v}.nii.gz", {"": "masks/p{p}_visit{v}.nii.gz"}, "{p}", {"p": ["07", "08"], "v": ["1", "2"]}
    ),
}
