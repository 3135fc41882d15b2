"""A manifest as a German spreadsheet saves it: semicolons, Windows-1252, CRLF."""

from pathlib import Path

from tests.field.making import grey, labels, write_nifti, write_study


def make(folder: Path) -> None:
    """One scan ``a`` of ``Müller`` with a mask."""
    write_nifti(folder / "data" / "a.nii.gz", grey())
    write_nifti(folder / "data" / "m.nii.gz", labels())
    write_study(folder, [])
    text = "scan_id;patient_id;image;mask;ward\r\na;M\u00fcller;a.nii.gz;m.nii.gz;S\u00fcd, 2\r\n"
    (folder / "data_manifests" / "s.csv").write_bytes(text.encode("cp1252"))
