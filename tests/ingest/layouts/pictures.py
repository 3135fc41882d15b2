"""Public sets of pictures."""

from tests.ingest.layouts.tree import Layout

P3 = ["00", "01", "02"]
LAYOUTS = {
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
            *(f"test/mask/{n}_test_mask.gif" for n in ("01", "02", "03")),
            *(f"test/2nd_manual/{n}_manual2.gif" for n in ("01", "02", "03")),
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
        {
            "left": "MontgomerySet/ManualMask/leftMask/MCUCXR_{n}_{t}.png",
            "right": "MontgomerySet/ManualMask/rightMask/MCUCXR_{n}_{t}.png",
        },
        "{n}{t}",
        {"n": ["0001", "0002", "0006"], "t": ["0"]},
        others=["MontgomerySet/ClinicalReadings/MCUCXR_0001_0.txt", "MontgomerySet/readme.txt"],
    ),
    "Shenzhen": Layout(
        "CXR_png/CHNCXR_{n}_0.png",
        {"": "mask/CHNCXR_{n}_0_mask.png"},
        "{n}",
        {"n": ["0001", "0002", "0003"]},
        others=["ClinicalReadings/CHNCXR_0001_0.txt"],
    ),
    "COVID-QU-Ex": Layout(
        "Infection Segmentation Data/{t}/{c}/images/{x}_{n}.png",
        {
            "infection": "Infection Segmentation Data/{t}/{c}/infection masks/{x}_{n}.png",
            "lung": "Infection Segmentation Data/{t}/{c}/lung masks/{x}_{n}.png",
        },
        "{t}{c}{x}{n}",
        {"t": ["Train", "Test"], "c": ["COVID-19", "Normal"], "x": ["img"], "n": ["1", "2", "3"]},
    ),
    "Kvasir": Layout(
        "images/{n}.jpg",
        {"": "masks/{n}.jpg"},
        "{n}",
        {"n": ["cju0qkwl35piu0993l0dewei2", "cju0qoxqj9q6s0835b43399p4", "cju0qx73cjw570799j4n5cjze"]},
        others=["kavsir_bboxes.json"],
    ),
    "CVC-ClinicDB": Layout("Original/{n}.tif", {"": "Ground Truth/{n}.tif"}, "{n}", {"n": ["1", "2", "10"]}),
    "BUSI": Layout(
        "Dataset_BUSI_with_GT/{c}/{c} ({n}).png",
        {"": "Dataset_BUSI_with_GT/{c}/{c} ({n})_mask.png"},
        "{c}{n}",
        {"c": ["benign", "malignant", "normal"], "n": ["1", "2", "12"]},
    ),
    "TN3K": Layout(
        "{t}-image/{n}.jpg",
        {"": "{t}-mask/{n}.jpg"},
        "{t}{n}",
        {"t": ["trainval", "test"], "n": ["0000", "0001", "0010"]},
    ),
    "Carvana": Layout(
        "train/{n}.jpg",
        {"": "train_masks/{n}_mask.gif"},
        "{n}",
        {"n": ["0cdf5b5d0ce1", "4f2c1b7d0cee", "0aa5b5d0cce1"]},
    ),
    "PH2": Layout(
        "PH2 Dataset images/IMD{n}/IMD{n}_Dermoscopic_Image/IMD{n}.bmp",
        {"": "PH2 Dataset images/IMD{n}/IMD{n}_lesion/IMD{n}_lesion.bmp"},
        "{n}",
        {"n": ["002", "003", "013"]},
    ),
    "IDRiD": Layout(
        "1. Original Images/a. Training Set/IDRiD_{n}.jpg",
        {
            "Microaneurysms": "2. All Segmentation Groundtruths/a. Training Set/1. Microaneurysms/IDRiD_{n}_MA.tif",
            "Haemorrhages": "2. All Segmentation Groundtruths/a. Training Set/2. Haemorrhages/IDRiD_{n}_HE.tif",
        },
        "{n}",
        {"n": ["01", "02", "11"]},
    ),
    "REFUGE": Layout(
        "Training400/{c}/{x}{n}.jpg",
        {"": "Annotation-Training400/Disc_Cup_Masks/{c}/{x}{n}.bmp"},
        "{x}{n}",
        {"c": ["Glaucoma"], "x": ["g"], "n": ["0001", "0002", "0011"]},
        values_of=2,
    ),
    "GLAS": Layout("train_{n}.bmp", {"": "train_{n}_anno.bmp"}, "{n}", {"n": ["1", "2", "10"]}),
    "CamVid style": Layout(
        "{t}/{n}.png", {"": "{t}annot/{n}.png"}, "{t}{n}", {"t": ["train", "test"], "n": ["0001", "0002"]}, values_of=3
    ),
    "UW like": Layout(
        "case{c}/case{c}_day{d}/scans/slice_{n}_266_266_1.50_1.50.png",
        {},
        "{c}",
        {"c": ["101", "123"], "d": ["20", "22"], "n": ["0001", "0002"]},
        others=["train.csv"],
    ),
    "NIH chest": Layout("images/{p}_{n}.png", {}, "{p}", {"p": ["00000001", "00000002"], "n": ["000", "001"]}),
    "classes beside": Layout(
        "images/{n}.png", {"": "labels/train/{n}.png"}, "{n}", {"n": ["aa", "bb", "cc"]}, values_of=2
    ),
    "seg prefix": Layout("img_{n}.png", {"": "seg_{n}.png"}, "{n}", {"n": ["001", "002", "010"]}),
    "msk suffix": Layout("{n}_img.png", {"": "{n}_msk.png"}, "{n}", {"n": ["a1", "b2", "c3"]}),
    "instances": Layout(
        "train/{n}/images/{n}.png",
        {},
        "{n}",
        {"n": ["0a1b", "1c2d", "3e4f", "5a6b"]},
        looks_like_masks=[f"train/{n}/masks/{n}x{i}y{n}.png" for n in ("0a1b", "1c2d", "3e4f", "5a6b") for i in "abc"],
        refused="drawings",
    ),
}
