"""Public sets whose classes, readers, parts and dates stand in the paths too."""

from tests.ingest.layouts.tree import Layout

N = ["001", "002", "010"]
LAYOUTS = {
    "Kaggle lungs": Layout(
        "data/Lung Segmentation/CXR_png/{n}.png",
        {"": "data/Lung Segmentation/masks/{n}_mask.png"},
        "{n}",
        {"n": ["CHNCXR_0001_0", "CHNCXR_0002_0", "CHNCXR_0330_1"]},
    ),
    "REFUGE with classes": Layout(
        "Training400/{c}/{x}.jpg",
        {"": "Annotation-Training400/Disc_Cup_Masks/{c}/{x}.bmp"},
        "{x}",
        {"c": ["Glaucoma"], "x": ["g0001", "g0002", "g0012"]},
    ),
    "Drishti": Layout(
        "Training/Images/GLAUCOMA/drishtiGS_{n}.png",
        {
            "OD": "Training/GT/drishtiGS_{n}/drishtiGS_{n}_ODseg.png",
            "cup": "Training/GT/drishtiGS_{n}/drishtiGS_{n}_cupseg.png",
        },
        "{n}",
        {"n": ["002", "004", "010"]},
    ),
    "train val test": Layout(
        "{t}/images/{n}.png",
        {"": "{t}/masks/{n}.png"},
        "{t}{n}",
        {"t": ["train", "val", "test"], "n": ["1", "2", "3"]},
    ),
    "images below train": Layout(
        "images/{t}/{n}.png",
        {"": "masks/{t}/{n}.png"},
        "{t}{n}",
        {"t": ["train", "val"], "n": ["1", "2", "3"]},
    ),
    "organs below train": Layout(
        "{t}/img/{n}.png",
        {"heart": "{t}/mask/heart/{n}.png", "lung": "{t}/mask/lung/{n}.png"},
        "{t}{n}",
        {"t": ["train", "val"], "n": ["1", "2", "3"]},
    ),
    "organ suffix": Layout(
        "{n}.png",
        {"heart": "{n}_heart_mask.png", "lung": "{n}_lung_mask.png"},
        "{n}",
        {"n": ["a01", "a02", "b03"]},
    ),
    "organ prefix": Layout(
        "{n}/image.nii.gz",
        {"heart": "{n}/mask_heart.nii.gz", "lung": "{n}/mask_lung.nii.gz"},
        "{n}",
        {"n": ["a01", "a02", "b03"]},
    ),
    "left and right knees": Layout(
        "{n}_{s}.nii.gz",
        {"": "{n}_{s}_seg.nii.gz"},
        "{n}",
        {"n": ["9001104", "9002116"], "s": ["LEFT", "RIGHT"]},
        values_of=3,
    ),
    "sides in folders": Layout(
        "{s}/image/{n}.nii.gz",
        {"": "{s}/label/{n}.nii.gz"},
        "{n}",
        {"s": ["left", "right"], "n": ["9001104", "9002116"]},
        values_of=3,
    ),
    "visits in folders": Layout(
        "patient_{p}/visit_{v}/t1.nii.gz",
        {"": "patient_{p}/visit_{v}/lesion_mask.nii.gz"},
        "{p}",
        {"p": ["01", "02"], "v": ["1", "2"]},
    ),
    "dates in folders": Layout(
        "{p}/{d}/image.nii.gz",
        {"": "{p}/{d}/mask.nii.gz"},
        "{p}",
        {"p": ["MS017", "MS018"], "d": ["20190304", "20200211"]},
    ),
    "hash names": Layout(
        "images/{n}.png",
        {"": "masks/{n}.png"},
        "{n}",
        {"n": ["00a1b2c3d4", "ff00aa11bb", "9c8d7e6f5a"]},
    ),
    "names of people": Layout(
        "{n}/ct.nii.gz",
        {"": "{n}/seg.nii.gz"},
        "{n}",
        {"n": ["anna", "bertil", "cecilia"]},
        values_of=2,
    ),
    "numbers not padded alike": Layout(
        "images/img_{n}.png",
        {"": "masks/mask_0{n}.png"},
        "{n}",
        {"n": ["1", "2", "3"]},
    ),
    "numbers up to twelve": Layout(
        "images/img_{n}.png", {"": "masks/mask_{n:0>2}.png"}, "{n}", {"n": [str(n) for n in range(1, 13)]}
    ),
    "prediction beside": Layout(
        "images/{n}.nii.gz",
        {"": "labels/{n}.nii.gz"},
        "{n}",
        {"n": N},
        values_of=2,
        looks_like_masks=[f"predictions/{n}.nii.gz" for n in N],
    ),
    "a second folder of drawings": Layout(
        "images/{n}.nii.gz",
        {"": "labels/{n}.nii.gz"},
        "{n}",
        {"n": N},
        values_of=2,
        looks_like_masks=[f"nora/{n}.nii.gz" for n in N],
    ),
    "a label volume and one organ": Layout(
        "images/{n}.nii.gz",
        {"": "labels/{n}.nii.gz"},
        "{n}",
        {"n": N},
        values_of=2,
        looks_like_masks=[f"liver_masks/{n}.nii.gz" for n in N],
        refused="label volume",
    ),
    "gray and rgb": Layout("img/{n}.jpg", {"": "gt/{n}.png"}, "{n}", {"n": ["x1", "x2", "x3"]}, values_of=3),
    "lab": Layout("{n}_raw.tif", {"": "{n}_lab.tif"}, "{n}", {"n": ["x1", "x2", "x3"]}, values_of=3),
    "dots": Layout("{n}.ct.nii.gz", {"": "{n}.seg.nii.gz"}, "{n}", {"n": N}, values_of=2),
    "3D Slicer": Layout(
        "{n}/CT.nrrd", {"": "{n}/Segmentation.seg.nrrd"}, "{n}", {"n": ["P1", "P2", "P12"]}, values_of=2
    ),
    "ROI names": Layout("{n}/T2.nii.gz", {"": "{n}/T2_ROI.nii.gz"}, "{n}", {"n": ["P1", "P2", "P12"]}),
    "two sequences, a mask each": Layout(
        "{n}/{s}.nii.gz",
        {"": "{n}/{s}_roi.nii.gz"},
        "{n}",
        {"n": ["P1", "P2", "P12"], "s": ["T1", "T2"]},
    ),
    "sequences in folders, one mask": Layout(
        "T1/{n}.nii.gz;T2/{n}.nii.gz",
        {"": "seg/{n}.nii.gz"},
        "{n}",
        {"n": N},
        values_of=2,
    ),
    "autopet v2": Layout(
        "imagesTr/{n}_0000.nii.gz;imagesTr/{n}_0001.nii.gz",
        {"": "labelsTr/{n}.nii.gz"},
        "{n}",
        {"n": ["psma_95b833d65be26f28_2018-04-16", "psma_95b833d65be26f29_2018-05-16"]},
    ),
    "HECKTOR": Layout(
        "imagesTr/{n}__CT.nii.gz;imagesTr/{n}__PT.nii.gz",
        {"": "labelsTr/{n}.nii.gz"},
        "{n}",
        {"n": ["CHUM-001", "CHUM-002", "MDA-010"]},
        values_of=2,
    ),
    "LGG with classes": Layout(
        "{g}/TCGA_{p}/TCGA_{p}_{n}.png",
        {"": "{g}/TCGA_{p}/TCGA_{p}_{n}_mask.png"},
        "{p}",
        {"g": ["high"], "p": ["06_0119", "06_0122"], "n": ["1", "2"]},
    ),
    "TCGA": Layout(
        "images/TCGA-{n}.nii.gz",
        {"": "masks/TCGA-{n}.nii.gz"},
        "{n}",
        {"n": ["06-0119", "06-0122", "02-0003", "02-0006"]},
    ),
    "slices of cases": Layout(
        "images/case_{c}_slice_{n}.png",
        {"": "masks/case_{c}_slice_{n}.png"},
        "{c}",
        {"c": ["1", "2"], "n": ["001", "002"]},
    ),
    "slices numbered": Layout(
        "images/{c}_{n}.png", {"": "masks/{c}_{n}.png"}, "{c}", {"c": ["P1", "P2"], "n": ["001", "002"]}
    ),
    "OAI visits": Layout(
        "{v}/{n}.nii.gz", {"": "{v}/{n}_seg.nii.gz"}, "{n}", {"v": ["V00", "V03"], "n": ["9000099", "9000296"]}
    ),
    "cohorts": Layout(
        "{c}/{n}/ct.nii.gz", {"": "{c}/{n}/mask.nii.gz"}, "{c}{n}", {"c": ["Basel", "Geneva"], "n": ["001", "002"]}
    ),
    "centres numbered": Layout(
        "Center_{c}/Patient_{n}/flair.nii.gz",
        {"": "Center_{c}/Patient_{n}/lesions.nii.gz"},
        "{c}{n}",
        {"c": ["01", "07"], "n": ["01", "02"]},
    ),
    "Sunnybrook like": Layout(
        "SC-HF-I-{n}/img.nii.gz", {"": "SC-HF-I-{n}/contour.nii.gz"}, "{n}", {"n": ["01", "02", "10"]}
    ),
    "folder is the label": Layout("liver/images/{n}.nii.gz", {"": "liver/masks/{n}.nii.gz"}, "{n}", {"n": N}),
    "scan in folder of its name": Layout("{n}/{n}.nii.gz", {"": "{n}/{n}_labels.nii.gz"}, "{n}", {"n": N}, values_of=2),
    "volumes in numbered parts": Layout(
        "volume_pt{q}/volume-{n}.nii",
        {"": "segmentations/segmentation-{n}.nii"},
        "{n}",
        {"q": ["1"], "n": ["0", "1", "2", "10"]},
        others=[],
    ),
    "superpixels beside": Layout(
        "ISIC-2017_Training_Data/ISIC_{n}.jpg",
        {"": "ISIC-2017_Training_Part1_GroundTruth/ISIC_{n}_segmentation.png"},
        "{n}",
        {"n": ["0000000", "0000001"]},
        others=[f"ISIC-2017_Training_Data/ISIC_000000{n}_superpixels.png" for n in (0, 1)],
    ),
    "channels and single files": Layout(
        "MR/{n}/T2SPIR/T2SPIR.nii.gz",
        {"": "MR/{n}/T2SPIR/Ground.nii.gz"},
        "{n}",
        {"n": ["1", "2"]},
        others=[f"MR/{n}/T1DUAL/{phase}.nii.gz" for n in (1, 2) for phase in ("InPhase", "OutPhase")],
        looks_like_masks=[f"MR/{n}/T1DUAL/Ground.nii.gz" for n in (1, 2)],
        refused="several channels",
    ),
    "scans of a set with masks and one without": Layout(
        "Training/{c}/{n}/{n}_sa.nii.gz",
        {"": "Training/{c}/{n}/{n}_sa_gt.nii.gz"},
        "{n}",
        {"c": ["Labeled"], "n": ["A0S9V9", "A1D0Q7"]},
        without=[{"c": "Unlabeled", "n": "B0H7V0"}],
        values_of=3,
    ),
}
