"""Trees of files laid out as public data sets are, and what each is to be drafted as.

A tree is one line a scan, by example: ``images/a.png | masks/a.png``. In the lines ``{…}`` names what varies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from PIL import Image

_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif")


@dataclass
class Layout:
    """A data set's layout.

    Attributes:
        scans: Files of a scan, its masks by organ and its patient, as patterns.
        values: What the ``{…}`` of the patterns stand for.
        others: Files that are in no row.
        empty: Write files of no meaning instead of images: names alone are to decide.
        refused: A text of the message, where the layout is refused.
        values_of: Organs of one file; 1 is a mask of one organ.
    """

    scan: str = ""
    masks: dict[str, str] = field(default_factory=dict)
    patient: str = ""
    values: dict[str, list[str]] = field(default_factory=dict)
    without: list[dict[str, str]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    looks_like_masks: list[str] = field(default_factory=list)
    refused: str = ""
    values_of: int = 1

    def cases(self) -> list[dict[str, str]]:
        """Every combination of the values."""
        return [dict(zip(self.values, some, strict=True)) for some in product(*self.values.values())]

    def expected(self) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
        """Image cell → column → mask, and image cell → patient."""
        masks, patients = {}, {}
        for case in self.cases():
            image = self.scan.format(**case)
            masks[image] = {
                "mask" if not organ else f"mask_{organ}": path.format(**case) for organ, path in self.masks.items()
            }
            patients[image] = self.patient.format(**case)
        for case in self.without:
            masks[self.scan.format(**case)] = {}
            patients[self.scan.format(**case)] = self.patient.format(**case)
        return masks, patients

    def make(self, folder: Path) -> None:
        """Write the files."""
        masks, _ = self.expected()
        for image, drawn in masks.items():
            for path in image.split(";"):
                write(folder / path, recorded=True)
            for path in drawn.values():
                write(folder / path, recorded=False, organs=self.values_of)
        for path in self.others:
            write(folder / path, recorded=True)
        for path in self.looks_like_masks:
            write(folder / path, recorded=False)


def write(path: Path, *, recorded: bool, organs: int = 1, shape: tuple[int, int, int] = (12, 10, 6)) -> None:
    """Write an image or a mask of a few pixels, in the form that the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(len(str(path)))
    flat = path.name.lower().endswith(_PICTURES)
    size = (40, 32) if flat else shape
    values = random.integers(0, 256 if flat else 900, size) if recorded else np.zeros(size, int)
    if not recorded:
        for organ in range(1, organs + 1):
            values[organ * 2 : organ * 2 + 2, 2:6] = organ if organs > 1 or not flat else 255
    if flat:
        Image.fromarray(values.astype(np.uint8)).save(path)
    elif path.name.endswith((".nii", ".nii.gz", ".hdr")):
        kind = nib.Nifti1Pair if path.name.endswith(".hdr") else nib.Nifti1Image
        nib.save(kind(values.astype(np.int16 if recorded else np.uint8), np.eye(4)), path)
    elif path.name.endswith((".mha", ".mhd", ".nrrd")):
        sitk.WriteImage(sitk.GetImageFromArray(values.astype(np.int16 if recorded else np.uint8)), str(path))
    else:
        path.write_text("text")


P3 = [f"{n:02d}" for n in range(3)]
ISSUE = {
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
        "s{n}/mri.nii.gz", {"liver": "s{n}/segmentations/liver.nii.gz", "spleen": "s{n}/segmentations/spleen.nii.gz"},
        "{n}", {"n": ["0001", "0002", "0011"]},
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
    "LiTS": Layout(
        "volume-{n}.nii", {"": "segmentation-{n}.nii"}, "{n}", {"n": ["0", "1", "10"]}, values_of=2
    ),
    "visits": Layout(
        "images/p{p}_visit{v}.nii.gz", {"": "masks/p{p}_visit{v}.nii.gz"}, "{p}", {"p": ["07", "08"], "v": ["1", "2"]}
    ),
}
PUBLIC = {
    "PROMISE12": Layout(
        "TrainingData_Part{q}/Case{n}.mhd", {"": "TrainingData_Part{q}/Case{n}_segmentation.mhd"}, "{q}{n}",
        {"q": ["1"], "n": P3},
    ),
    "PROMISE12 parts": Layout(
        "TrainingData_Part{q}/Case{q}{n}.mhd", {"": "TrainingData_Part{q}/Case{q}{n}_segmentation.mhd"}, "{q}{n}",
        {"q": ["1", "2"], "n": list("012")},
    ),
    "ACDC": Layout(
        "training/patient{p}/patient{p}_frame{f}.nii.gz",
        {"": "training/patient{p}/patient{p}_frame{f}_gt.nii.gz"},
        "{p}",
        {"p": ["001", "002", "012"], "f": ["01", "12"]},
        others=["training/patient001/Info.cfg"],
        values_of=3,
    ),
    "AMOS like": Layout(
        "images{t}/amos_{n}.nii.gz", {"": "labels{t}/amos_{n}.nii.gz"}, "{n}{t}",
        {"t": ["Tr"], "n": ["0001", "0004", "0600"]}, values_of=3,
    ),
    "ISIC": Layout(
        "ISIC2018_Task1-2_Training_Input/ISIC_{n}.jpg",
        {"": "ISIC2018_Task1_Training_GroundTruth/ISIC_{n}_segmentation.png"},
        "{n}",
        {"n": ["0000000", "0000001", "0000013"]},
        others=["ISIC2018_Task1-2_Training_Input/LICENSE.txt"],
    ),
    "ISIC attributes": Layout(
        "Training_Input/ISIC_{n}.jpg",
        {f"attribute_{o}": f"Training_GroundTruth_v3/ISIC_{{n}}_attribute_{o}.png" for o in ("globules", "streaks")},
        "{n}",
        {"n": ["0000000", "0000001", "0000013"]},
    ),
    "DRIVE": Layout(
        "training/images/{n}_training.tif",
        {"": "training/1st_manual/{n}_manual1.gif"},
        "{n}",
        {"n": ["21", "22", "23"]},
        looks_like_masks=[f"training/mask/{n}_training_mask.gif" for n in (21, 22, 23)],
    ),
    "DRIVE test": Layout(
        "test/images/{n}_test.tif",
        {"": "test/1st_manual/{n}_manual1.gif"},
        "{n}",
        {"n": ["01", "02", "03"]},
        looks_like_masks=[
            *(f"test/mask/{n}_test_mask.gif" for n in P3[1:] + ["03"]),
            *(f"test/2nd_manual/{n}_manual2.gif" for n in P3[1:] + ["03"]),
        ],
    ),
    "CHASE": Layout(
        "Image_{n}{s}.jpg",
        {"": "Image_{n}{s}_1stHO.png"},
        "{n}",
        {"n": ["01", "02", "03"], "s": ["L", "R"]},
        looks_like_masks=[f"Image_0{n}{s}_2ndHO.png" for n in (1, 2, 3) for s in "LR"],
    ),
    "HRF": Layout(
        "images/{n}_{c}.jpg",
        {"": "manual1/{n}_{c}.tif"},
        "{n}{c}",
        {"n": ["01", "02", "03"], "c": ["dr", "g", "h"]},
        looks_like_masks=[f"mask/0{n}_{c}_mask.tif" for n in (1, 2, 3) for c in ("dr", "g", "h")],
    ),
    "JSRT": Layout(
        "images/JPCLN{n}.png",
        {o: f"scratch/fold1/masks/{o}/JPCLN{{n}}.gif" for o in ("heart", "left_lung", "right_clavicle")},
        "{n}",
        {"n": ["001", "002", "003"]},
    ),
    "Montgomery": Layout(
        "MontgomerySet/CXR_png/MCUCXR_{n}_{t}.png",
        {"left": "MontgomerySet/ManualMask/leftMask/MCUCXR_{n}_{t}.png",
         "right": "MontgomerySet/ManualMask/rightMask/MCUCXR_{n}_{t}.png"},
        "{n}{t}",
        {"n": ["0001", "0002", "0006"], "t": ["0"]},
        others=["MontgomerySet/ClinicalReadings/MCUCXR_0001_0.txt", "MontgomerySet/readme.txt"],
    ),
    "Shenzhen": Layout(
        "CXR_png/CHNCXR_{n}_0.png", {"": "mask/CHNCXR_{n}_0_mask.png"}, "{n}", {"n": ["0001", "0002", "0003"]},
        others=["ClinicalReadings/CHNCXR_0001_0.txt"],
    ),
    "COVID-QU-Ex": Layout(
        "Infection Segmentation Data/{t}/{c}/images/{x}_{n}.png",
        {"infection": "Infection Segmentation Data/{t}/{c}/infection masks/{x}_{n}.png",
         "lung": "Infection Segmentation Data/{t}/{c}/lung masks/{x}_{n}.png"},
        "{t}{c}{x}{n}",
        {"t": ["Train", "Test"], "c": ["COVID-19", "Normal"], "x": ["img"], "n": ["1", "2", "3"]},
    ),
    "Pancreas-CT": Layout(
        "Pancreas-CT/PANCREAS_{n}.nii.gz", {"": "TCIA_pancreas_labels-02-05-2017/label{n}.nii.gz"}, "{n}",
        {"n": ["0001", "0002", "0005"]},
    ),
    "WORD": Layout(
        "images{t}/word_{n}.nii.gz", {"": "labels{t}/word_{n}.nii.gz"}, "{n}{t}",
        {"t": ["Tr", "Val"], "n": ["0002", "0004", "0010"]}, values_of=3,
    ),
    "FLARE21": Layout(
        "TrainingImg/train_{n}_0000.nii.gz", {"": "TrainingMask/train_{n}.nii.gz"}, "{n}",
        {"n": ["000", "001", "011"]}, values_of=3,
    ),
    "FLARE22": Layout(
        "images/FLARE22_Tr_{n}_0000.nii.gz", {"": "labels/FLARE22_Tr_{n}.nii.gz"}, "{n}",
        {"n": ["0000", "0001", "0011"]}, values_of=3,
    ),
    "SegTHOR": Layout(
        "train/Patient_{n}/Patient_{n}.nii.gz", {"": "train/Patient_{n}/GT.nii.gz"}, "{n}",
        {"n": ["01", "02", "11"]}, values_of=3,
    ),
    "SpineWeb": Layout(
        "case{n}.mhd", {"": "case{n}_label.mhd"}, "{n}", {"n": ["1", "2", "10"]}, values_of=3,
    ),
    "M&Ms-2": Layout(
        "dataset/{n}/{n}_{v}_{f}.nii.gz", {"": "dataset/{n}/{n}_{v}_{f}_gt.nii.gz"}, "{n}",
        {"n": ["001", "002", "003"], "v": ["LA", "SA"], "f": ["ED", "ES"]}, values_of=3,
    ),
    "M&Ms": Layout(
        "Training/Labeled/{n}/{n}_sa.nii.gz", {"": "Training/Labeled/{n}/{n}_sa_gt.nii.gz"}, "{n}",
        {"n": ["A0S9V9", "A1D0Q7", "B3F0V9"]}, values_of=3,
    ),
    "HVSMR": Layout(
        "training_axial_full_pat{n}.nii.gz", {"": "training_axial_full_pat{n}-label.nii.gz"}, "{n}",
        {"n": ["0", "1", "10"]}, values_of=2,
    ),
    "VerSe": Layout(
        "rawdata/sub-verse{n}/sub-verse{n}_ct.nii.gz",
        {"": "derivatives/sub-verse{n}/sub-verse{n}_seg-vert_msk.nii.gz"},
        "{n}",
        {"n": ["004", "005", "033"]},
        others=["derivatives/sub-verse004/sub-verse004_seg-vert_snp.png",
                "derivatives/sub-verse004/sub-verse004_seg-subreg_ctd.json"],
        values_of=3,
    ),
    "IXI": Layout(
        "IXI-{s}/IXI{n}-Guys-{m}-{s}.nii.gz", {}, "{n}", {"s": ["T1", "T2"], "n": ["002", "012"], "m": ["0828"]},
    ),
    "OAI-ZIB": Layout(
        "images/{n}.mhd", {"": "masks/{n}.segmentation_masks.mhd"}, "{n}", {"n": ["9001104", "9002116", "9002316"]},
        values_of=4,
    ),
    "iSeg": Layout(
        "subject-{n}-T1.hdr;subject-{n}-T2.hdr", {"": "subject-{n}-label.hdr"}, "{n}", {"n": ["1", "2", "10"]},
        values_of=3,
    ),
    "left atrium": Layout(
        "Training Set/{n}/lgemri.nrrd", {"": "Training Set/{n}/laendo.nrrd"}, "{n}",
        {"n": ["07LZ6WHX9W6NIN5NHJ2E", "0RZDK210BSMWAA6467LU", "1D7CUD1955YZPGK8XHJX"]},
    ),
    "SKI10": Layout(
        "image-{n}.mhd", {"": "labels-{n}.mhd"}, "{n}", {"n": ["001", "002", "010"]}, values_of=4,
    ),
    "SLIVER07": Layout(
        "training/liver-orig{n}.mhd", {"": "training/liver-seg{n}.mhd"}, "{n}", {"n": ["001", "002", "010"]},
    ),
    "MM-WHS": Layout(
        "ct_train/ct_train_{n}_image.nii.gz", {"": "ct_train/ct_train_{n}_label.nii.gz"}, "{n}",
        {"n": ["1001", "1002", "1010"]}, values_of=4,
    ),
    "CAMUS": Layout(
        "patient{n}/patient{n}_{v}_{f}.nii.gz", {"": "patient{n}/patient{n}_{v}_{f}_gt.nii.gz"}, "{n}",
        {"n": ["0001", "0002", "0010"], "v": ["2CH", "4CH"], "f": ["ED", "ES"]},
        others=["patient0001/Info_2CH.cfg"], values_of=3,
    ),
    "CT-ORG": Layout(
        "volume-{n}.nii.gz", {"": "labels-{n}.nii.gz"}, "{n}", {"n": ["0", "1", "10"]}, values_of=5,
    ),
    "ImageCAS": Layout("{n}.img.nii.gz", {"": "{n}.label.nii.gz"}, "{n}", {"n": ["1", "2", "10"]}),
    "AbdomenAtlas": Layout(
        "BDMAP_{n}/ct.nii.gz",
        {"liver": "BDMAP_{n}/segmentations/liver.nii.gz", "spleen": "BDMAP_{n}/segmentations/spleen.nii.gz"},
        "{n}", {"n": ["00000001", "00000002", "00000012"]},
    ),
    "COVID-19-CT-Seg": Layout(
        "COVID-19-CT-Seg_20cases/{n}.nii.gz",
        {"Infection": "Infection_Mask/{n}.nii.gz", "Lung": "Lung_Mask/{n}.nii.gz"},
        "{n}",
        {"n": ["coronacases_001", "coronacases_002", "radiopaedia_10_85902_1"]},
    ),
    "MosMed": Layout(
        "studies/CT-1/study_{n}.nii.gz", {"": "masks/study_{n}_mask.nii.gz"}, "{n}", {"n": ["0255", "0256", "0264"]},
        others=[],
    ),
    "PDDCA": Layout(
        "{n}/img.nrrd", {o: f"{{n}}/structures/{o}.nrrd" for o in ("BrainStem", "Parotid_L", "Parotid_R")}, "{n}",
        {"n": ["0522c0001", "0522c0002", "0522c0013"]},
    ),
    "HaN-Seg": Layout(
        "set_1/case_{n}/case_{n}_IMG_CT.nrrd",
        {"A_Carotid_L": "set_1/case_{n}/case_{n}_OAR_A_Carotid_L.seg.nrrd",
         "Bone_Mandible": "set_1/case_{n}/case_{n}_OAR_Bone_Mandible.seg.nrrd"},
        "{n}", {"n": ["01", "02", "11"]},
    ),
    "StructSeg": Layout(
        "HaN_OAR/{n}/data.nii.gz", {"": "HaN_OAR/{n}/label.nii.gz"}, "{n}", {"n": ["1", "2", "10"]}, values_of=5,
    ),
    "BraTS 2023": Layout(
        ";".join(f"BraTS-GLI-{{n}}-{{t}}/BraTS-GLI-{{n}}-{{t}}-{c}.nii.gz" for c in ("t1c", "t1n", "t2f", "t2w")),
        {"": "BraTS-GLI-{n}-{t}/BraTS-GLI-{n}-{t}-seg.nii.gz"},
        "{n}",
        {"n": ["00000", "00005", "00006"], "t": ["000", "001"]},
        values_of=3,
    ),
    "UPENN-GBM": Layout(
        ";".join(f"images_structural/UPENN-GBM-{{n}}_11/UPENN-GBM-{{n}}_11_{c}.nii.gz" for c in ("FLAIR", "T1", "T1GD", "T2")),
        {"": "images_segm/UPENN-GBM-{n}_11_segm.nii.gz"},
        "{n}", {"n": ["00002", "00006", "00008"]}, values_of=3,
    ),
    "Kvasir": Layout("images/{n}.jpg", {"": "masks/{n}.jpg"}, "{n}",
                     {"n": ["cju0qkwl35piu0993l0dewei2", "cju0qoxqj9q6s0835b43399p4", "cju0qx73cjw570799j4n5cjze"]},
                     others=["kavsir_bboxes.json"]),
    "CVC-ClinicDB": Layout("Original/{n}.tif", {"": "Ground Truth/{n}.tif"}, "{n}", {"n": ["1", "2", "10"]}),
    "BUSI": Layout(
        "Dataset_BUSI_with_GT/{c}/{c} ({n}).png", {"": "Dataset_BUSI_with_GT/{c}/{c} ({n})_mask.png"}, "{c}{n}",
        {"c": ["benign", "malignant", "normal"], "n": ["1", "2", "12"]},
    ),
    "TN3K": Layout(
        "{t}-image/{n}.jpg", {"": "{t}-mask/{n}.jpg"}, "{t}{n}", {"t": ["trainval", "test"], "n": ["0000", "0001", "0010"]},
    ),
    "Carvana": Layout("train/{n}.jpg", {"": "train_masks/{n}_mask.gif"}, "{n}", {"n": ["0cdf5b5d0ce1", "4f2c1b7d0cee", "0aa5b5d0cce1"]}),
    "PH2": Layout(
        "PH2 Dataset images/IMD{n}/IMD{n}_Dermoscopic_Image/IMD{n}.bmp",
        {"": "PH2 Dataset images/IMD{n}/IMD{n}_lesion/IMD{n}_lesion.bmp"}, "{n}", {"n": ["002", "003", "013"]},
    ),
    "IDRiD": Layout(
        "1. Original Images/a. Training Set/IDRiD_{n}.jpg",
        {"Microaneurysms": "2. All Segmentation Groundtruths/a. Training Set/1. Microaneurysms/IDRiD_{n}_MA.tif",
         "Haemorrhages": "2. All Segmentation Groundtruths/a. Training Set/2. Haemorrhages/IDRiD_{n}_HE.tif"},
        "{n}", {"n": ["01", "02", "11"]},
    ),
    "REFUGE": Layout(
        "Training400/{c}/{x}{n}.jpg", {"": "Annotation-Training400/Disc_Cup_Masks/{c}/{x}{n}.bmp"}, "{x}{n}",
        {"c": ["Glaucoma"], "x": ["g"], "n": ["0001", "0002", "0011"]}, values_of=2,
    ),
    "GLAS": Layout("train_{n}.bmp", {"": "train_{n}_anno.bmp"}, "{n}", {"n": ["1", "2", "10"]}),
    "CamVid style": Layout("{t}/{n}.png", {"": "{t}annot/{n}.png"}, "{t}{n}", {"t": ["train", "test"], "n": ["0001", "0002"]}, values_of=3),
    "UW like": Layout(
        "case{c}/case{c}_day{d}/scans/slice_{n}_266_266_1.50_1.50.png", {}, "{c}",
        {"c": ["101", "123"], "d": ["20", "22"], "n": ["0001", "0002"]}, others=["train.csv"],
    ),
    "NIH chest": Layout("images/{p}_{n}.png", {}, "{p}", {"p": ["00000001", "00000002"], "n": ["000", "001"]}),
    "OASIS": Layout("OAS1_{p}_MR{v}/orig.nii.gz", {"": "OAS1_{p}_MR{v}/seg.nii.gz"}, "{p}", {"p": ["0001", "0002"], "v": ["1", "2"]}, values_of=4),
    "classes beside": Layout("images/{n}.png", {"": "labels/train/{n}.png"}, "{n}", {"n": ["aa", "bb", "cc"]}, values_of=2),
    "seg prefix": Layout("img_{n}.png", {"": "seg_{n}.png"}, "{n}", {"n": ["001", "002", "010"]}),
    "msk suffix": Layout("{n}_img.png", {"": "{n}_msk.png"}, "{n}", {"n": ["a1", "b2", "c3"]}),
    "WMH": Layout(
        "{s}/{n}/pre/FLAIR.nii.gz", {"": "{s}/{n}/wmh.nii.gz"}, "{s}{n}", {"s": ["Utrecht", "Singapore"], "n": ["0", "2"]},
        others=[f"{s}/{n}/orig/FLAIR.nii.gz" for s in ("Utrecht", "Singapore") for n in (0, 2)], refused="FLAIR",
    ),
    "QUBIQ": Layout(
        "case{n}/image.nii.gz", {}, "{n}", {"n": ["01", "02", "03"]},
        looks_like_masks=[f"case0{n}/task01_seg0{r}.nii.gz" for n in (1, 2, 3) for r in (1, 2, 3)], refused="readers",
    ),
    "instances": Layout(
        "train/{n}/images/{n}.png", {}, "{n}", {"n": ["0a1b", "1c2d", "3e4f", "5a6b"]},
        looks_like_masks=[f"train/{n}/masks/{n}x{i}y{n}.png" for n in ("0a1b", "1c2d", "3e4f", "5a6b") for i in "abc"],
        refused="drawings",
    ),
    "CHAOS": Layout(
        "MR/{n}/T2.nii.gz", {}, "{n}", {"n": ["1", "2", "10"]},
        looks_like_masks=[f"MR/{n}/Ground/IMG-000{k}.png" for n in (1, 2, 10) for k in (1, 2)], refused="slices",
    ),
}
