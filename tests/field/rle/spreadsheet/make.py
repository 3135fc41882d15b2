"""A table that went through a spreadsheet: a cell of 32,767 characters; and the same table with semicolons."""

from pathlib import Path

from tests.field.rle.shapes import organ, pairs, write_truth


def make(folder: Path) -> None:
    write_truth(folder, organ())
    cut = " ".join(f"{start} 1" for start in range(1, 400_000, 2))[:32_767]
    (folder / "cut.csv").write_text(f"ImageId,EncodedPixels\nimg1,{pairs(organ(), 'columns', 1)}\nimg2,{cut}\n")
    table = f"ImageId;EncodedPixels\r\nimg1;{pairs(organ(), 'columns', 1)}\r\nimg2;nan\r\n"
    (folder / "semicolons.csv").write_bytes(table.encode("utf-8-sig"))
