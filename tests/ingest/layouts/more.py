"""More public sets, whose names put the words in other places."""

from tests.ingest.layouts.tree import Layout

N = ["001", "002", "010"]
LAYOUTS = {
    "RibFrac": Layout("RibFrac{n}-image.nii.gz", {"": "RibFrac{n}-label.nii.gz"}, "{n}", {"n": ["1", "2", "10"]}),
    "INSTANCE": Layout("data/{n}.nii.gz", {"": "label/{n}.nii.gz"}, "{n}", {"n": N}),
    "CTSpine1K": Layout(
        "data/colon/{n}.nii.gz",
        {"": "gt/colon/{n}_seg.nii.gz"},
        "{n}",
        {"n": ["1.3.6.1.4.1.9328.50.4.0001", "1.3.6.1.4.1.9328.50.4.0002", "1.3.6.1.4.1.9328.50.4.0010"]},
        values_of=4,
    ),
    "ADAM": Layout(
        "{n}/pre/TOF.nii.gz",
        {"": "{n}/aneurysms.nii.gz"},
        "{n}",
        {"n": ["10001", "10002"]},
        others=["10001/orig/TOF.nii.gz", "10002/orig/TOF.nii.gz"],
        refused="TOF",
    ),
    "CrossMoDA": Layout(
        "source_training/crossmoda_{n}_ceT1.nii.gz",
        {"": "source_training/crossmoda_{n}_Label.nii.gz"},
        "{n}",
        {"n": ["1", "2", "10"]},
        values_of=2,
    ),
    "MSLesSeg": Layout(
        ";".join(f"train/P{{p}}/T{{t}}/P{{p}}_T{{t}}_{c}.nii.gz" for c in ("FLAIR", "T1", "T2")),
        {"": "train/P{p}/T{t}/P{p}_T{t}_MASK.nii.gz"},
        "{p}",
        {"p": ["1", "2", "10"], "t": ["1", "2"]},
    ),
    "Open MS": Layout(
        ";".join(f"patient{{p}}/patient{{p}}_{c}.nii.gz" for c in ("FLAIR", "T1W", "T2W")),
        {"brain": "patient{p}/patient{p}_brainmask.nii.gz", "consensus": "patient{p}/patient{p}_consensus_gt.nii.gz"},
        "{p}",
        {"p": ["01", "02", "10"]},
    ),
    "PENGWIN": Layout(
        "PENGWIN_CT_train_images/{n}.mha", {"": "PENGWIN_CT_train_labels/{n}.mha"}, "{n}", {"n": N}, values_of=3
    ),
    "EMIDEC": Layout(
        "Case_{n}/Images/Case_{n}.nii.gz",
        {"": "Case_{n}/Contours/Case_{n}.nii.gz"},
        "{n}",
        {"n": ["N006", "P001", "P002"]},
        values_of=3,
    ),
    "MyoPS": Layout(
        ";".join(f"train25/myops_training_{{n}}_{c}.nii.gz" for c in ("C0", "DE", "T2")),
        {"": "train25_myops_gd/myops_training_{n}_gd.nii.gz"},
        "{n}",
        {"n": ["101", "102", "110"]},
        values_of=3,
    ),
    "LAScarQS": Layout(
        "train_{n}/enhanced.nii.gz",
        {"atrium_MO": "train_{n}/atriumSegImgMO.nii.gz", "scar_M": "train_{n}/scarSegImgM.nii.gz"},
        "{n}",
        {"n": ["1", "2", "10"]},
    ),
    "MSCMR": Layout(
        "patient{n}_C0.nii.gz", {"": "patient{n}_C0_manual.nii.gz"}, "{n}", {"n": ["1", "2", "10"]}, values_of=3
    ),
    "Spider": Layout(
        "images/{n}_{s}.mha", {"": "masks/{n}_{s}.mha"}, "{n}", {"n": ["1", "2", "10"], "s": ["t1", "t2"]}, values_of=4
    ),
    "MRSpineSeg": Layout(
        "MR/Case{n}.nii.gz", {"": "Mask/mask_case{n}.nii.gz"}, "{n}", {"n": ["1", "2", "10"]}, values_of=3
    ),
    "BUS-BRA": Layout(
        "Images/bus_{n}-{s}.png", {"": "Masks/mask_{n}-{s}.png"}, "{n}", {"n": ["0001", "0002"], "s": ["l", "r"]}
    ),
    "BrEaST": Layout("case{n}.png", {"": "case{n}_tumor.png"}, "{n}", {"n": N}),
    "UDIAT": Layout("original/{n}.png", {"": "GT/{n}.png"}, "{n}", {"n": ["000001", "000002", "000010"]}),
    "FH-PS-AOP": Layout("image_mha/{n}.mha", {"": "label_mha/{n}.mha"}, "{n}", {"n": ["00001", "00002"]}, values_of=2),
    "HC18": Layout("training_set/{n}_HC.png", {"": "training_set/{n}_HC_Annotation.png"}, "{n}", {"n": N}),
    "RITE": Layout(
        "training/images/{n}_training.tif",
        {"": "training/vessel/{n}_training.png"},
        "{n}",
        {"n": ["21", "22", "23"]},
    ),
    "RETOUCH": Layout(
        "Cirrus/{n}/oct.mhd",
        {"": "Cirrus/{n}/reference.mhd"},
        "{n}",
        {"n": ["0a97e6f9f8a1", "10d04d4b4c2c", "23aa4b0c11d0"]},
        values_of=3,
    ),
    "HAM10000": Layout(
        "HAM10000_images_part_1/ISIC_{n}.jpg",
        {"": "HAM10000_segmentations_lesion_tschandl/ISIC_{n}_segmentation.png"},
        "{n}",
        {"n": ["0024306", "0024307", "0024310"]},
    ),
    "PolypGen": Layout(
        "data_{c}/images_{c}/{n}_{c}.jpg",
        {"": "data_{c}/masks_{c}/{n}_{c}_mask.jpg"},
        "{c}{n}",
        {"c": ["C1", "C2"], "n": ["100H0050", "101H0050"]},
    ),
    "CholecSeg8k": Layout(
        "video{v}/video{v}_{s}/frame_{n}_endo.png",
        {"": "video{v}/video{v}_{s}/frame_{n}_endo_mask.png"},
        "{v}",
        {"v": ["01", "09"], "s": ["00080"], "n": ["80", "81"]},
        values_of=3,
    ),
    "TNBC": Layout("Slide_{s}/{s}_{n}.png", {"": "GT_{s}/{s}_{n}.png"}, "{s}", {"s": ["01", "02"], "n": ["1", "2"]}),
    "CRAG": Layout(
        "train/Images/train_{n}.png", {"": "train/Annotation/train_{n}.png"}, "{n}", {"n": ["1", "2", "10"]}
    ),
    "Cityscapes like": Layout(
        "leftImg8bit/train/{n}_leftImg8bit.png",
        {"": "gtFine/train/{n}_gtFine_labelIds.png"},
        "{n}",
        {"n": ["aachen_000000_000019", "aachen_000001_000019", "bochum_000000_000313"]},
        values_of=3,
    ),
    "VOC": Layout(
        "JPEGImages/{n}.jpg",
        {"": "SegmentationClass/{n}.png"},
        "{n}",
        {"n": ["2007_000032", "2007_000039", "2008_000063"]},
        others=[],
        values_of=3,
    ),
    "OASIS neurite": Layout(
        "OASIS_OAS1_{n}_MR1/norm.nii.gz",
        {"": "OASIS_OAS1_{n}_MR1/seg4.nii.gz"},
        "{n}",
        {"n": ["0001", "0002"]},
        values_of=4,
        looks_like_masks=[f"OASIS_OAS1_000{n}_MR1/seg35.nii.gz" for n in (1, 2)],
        refused="seg4",
    ),
    "MRBrainS": Layout(
        ";".join(f"TrainingData/{{n}}/{c}.nii" for c in ("T1", "T1_IR", "T2_FLAIR")),
        {"": "TrainingData/{n}/LabelsForTraining.nii"},
        "{n}",
        {"n": ["1", "2", "3"]},
        values_of=3,
    ),
    "IBSR": Layout(
        "IBSR_{n}/IBSR_{n}_ana.nii.gz",
        {"": "IBSR_{n}/IBSR_{n}_seg_ana.nii.gz"},
        "{n}",
        {"n": ["01", "02", "10"]},
        values_of=4,
    ),
    "Finding lungs": Layout(
        "3d_images/IMG_{n}.nii.gz", {"": "3d_masks/MASK_{n}.nii.gz"}, "{n}", {"n": ["0002", "0031", "0059"]}
    ),
    "Lung 2d": Layout(
        "2d_images/ID_{n}_Z_{z}.tif",
        {"": "2d_masks/ID_{n}_Z_{z}.tif"},
        "{n}",
        {"n": ["0000", "0001"], "z": ["0142", "0146"]},
    ),
    "HNTS": Layout(
        "{n}/{t}/{n}_{t}_T2.nii.gz",
        {"": "{n}/{t}/{n}_{t}_mask.nii.gz"},
        "{n}",
        {"n": ["2", "3", "10"], "t": ["preRT", "midRT"]},
        values_of=2,
    ),
    "PI-CAI": Layout(
        ";".join(f"images/{{n}}/{{n}}_1000000_{c}.mha" for c in ("adc", "hbv", "t2w")),
        {"": "labels/human_expert/{n}_1000000.nii.gz"},
        "{n}",
        {"n": ["10000", "10001"]},
        refused="-",
    ),
    "Prostate158": Layout(
        "train/{n}/t2.nii.gz",
        {"anatomy": "train/{n}/t2_anatomy_reader1.nii.gz", "tumor": "train/{n}/t2_tumor_reader1.nii.gz"},
        "{n}",
        {"n": ["020", "021", "030"]},
    ),
    "knees by visit": Layout(
        "{v}/{n}_{s}/image.nii.gz",
        {"": "{v}/{n}_{s}/seg.nii.gz"},
        "{n}",
        {"v": ["baseline", "12m"], "n": ["9000099", "9000296"], "s": ["L", "R"]},
        values_of=2,
    ),
    "ISBI MS": Layout(
        "training{p}/preprocessed/training{p}_{v}_flair_pp.nii",
        {"": "training{p}/masks/training{p}_{v}_mask1.nii"},
        "{p}",
        {"p": ["01", "02"], "v": ["01", "02"]},
    ),
    "uppercase": Layout("IMAGES/{n}.PNG", {"": "LABELS/{n}.PNG"}, "{n}", {"n": ["A", "B", "C"]}, values_of=2),
    "deep hospital": Layout(
        "export/{h}/2021/{p}/MR/T2.nii.gz",
        {"": "export/{h}/2021/{p}/ROI/T2.nii.gz"},
        "{h}{p}",
        {"h": ["Basel", "Bern"], "p": ["101", "102"]},
    ),
    "two words": Layout(
        "ct scans/pat {n}.nii.gz", {"": "lung segmentations/pat {n}.nii.gz"}, "{n}", {"n": ["1", "2", "11"]}
    ),
    "labels by folder of cases": Layout(
        "cases/{n}/ct.nrrd",
        {"kidney": "cases/{n}/labels/kidney.nrrd", "liver": "cases/{n}/labels/liver.nrrd"},
        "{n}",
        {"n": ["a1", "b2", "c3"]},
    ),
    "organ first": Layout(
        "scans/{n}.nii.gz", {"kidney": "kidney_seg_{n}.nii.gz", "liver": "liver_seg_{n}.nii.gz"}, "{n}", {"n": N}
    ),
}
