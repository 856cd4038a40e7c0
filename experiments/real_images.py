"""Writes the raw folders of the Nordland and Corridor protocols for `tfds_builders/places_csv`.

    python experiments/real_images.py nordland --images=REAL/nordland --raw=runs/raw/nordland --drop_still
    python -m tfds_builders build places_csv --manual_dir=runs/raw/nordland \
        --config='{"name": "nordland", "height": 64, "width": 128, "position_unit": "frames"}'

Nordland holds every 10th frame as `images-%05d.png` in `summer` and `winter`; the same number is the same
place. The position is number / 10, one unit per frame. The sequences are `train_summer` and `train_winter`
(to 18000), `reference` (summer above 18500) and `test02` (winter above 18500); 18010 to 18500 is a gap.
`--drop_still` drops black and nearly repeated frames from the training sequences: a standing train gives
negatives that look alike. Every reference and query image stays.

Two protocols choose settings on Nordland's training part, without a test frame. `nordland_tune` trains to
15000; `reference` and `val` are 15510 to 18000. `nordland_tune_wide` trains to 12000; `val` is 12510 to
18000, and `reference` all of the summer to 18000, as many frames as the test's.

Corridor (`ref` and `query`, `%07d.jpg`) serves evaluation alone; its position is the frame number.
"""

import argparse
import csv
import io
import pathlib

import cv2
import numpy as np

from vprjax.errors import DataError
from vprjax.storage.atomic import write_atomically

# Protocol: last training frame, first frame of reference and of query, last of both, query's name.
SPANS = {
    "nordland": (18_000, 18_510, 18_510, 10**9, "test02"),
    "nordland_tune": (15_000, 15_510, 15_510, 18_000, "val"),
    "nordland_tune_wide": (12_000, 0, 12_510, 18_000, "val"),
}
SEQUENCES = {  # the sequences that every protocol must have
    name: {"train_summer", "train_winter", "reference", query}
    for name, (*_, query) in SPANS.items()
} | {"corridor": {"reference", "test01"}}
STILL = 2.0  # grey levels; a standing train differs less from the last kept frame, in the mean
BLACK = 4.0  # grey levels; a tunnel's frame has a smaller standard deviation


def nordland(images: pathlib.Path, protocol: str, drop_still: bool) -> list[dict]:
    """The rows of places.csv for one of Nordland's protocols (`SPANS`)."""
    last_train, first_reference, first_query, last, query = SPANS[protocol]
    rows = []
    for season in ("summer", "winter"):
        frames = sorted((images / season).glob("images-*.png"))
        numbers = [int(frame.stem.removeprefix("images-")) for frame in frames]
        train = [n for n in numbers if n <= last_train]
        if drop_still:
            train = moving(images / season, train)
        rows += [_row(f"train_{season}", f"{season}/images-{n:05d}.png", n / 10) for n in train]
        sequence, first = (
            ("reference", first_reference) if season == "summer" else (query, first_query)
        )
        test = [n for n in numbers if first <= n <= last]
        rows += [_row(sequence, f"{season}/images-{n:05d}.png", n / 10) for n in test]
    return rows


def moving(folder: pathlib.Path, numbers: list[int]) -> list[int]:
    """The numbers of frames that are not black and differ from the last kept one.

    Raises:
      DataError: a frame is no image.
    """
    kept, last = [], None
    for number in numbers:
        frame = folder / f"images-{number:05d}.png"
        grey = cv2.imread(str(frame), cv2.IMREAD_GRAYSCALE)
        if grey is None:
            raise DataError(f"{frame} is damaged or no PNG: copy it again, or remove it")
        grey = grey.astype(np.float32)
        if grey.std() < BLACK or (last is not None and np.abs(grey - last).mean() < STILL):
            continue
        kept.append(number)
        last = grey
    return kept


def corridor(images: pathlib.Path) -> list[dict]:
    """The rows of places.csv for the Corridor protocol."""
    rows = []
    for folder, sequence in (("ref", "reference"), ("query", "test01")):
        for frame in sorted((images / folder).glob("*.jpg")):
            rows.append(_row(sequence, f"{folder}/{frame.name}", int(frame.stem)))
    return rows


def _row(sequence: str, image: str, x: float) -> dict:
    return {"sequence": sequence, "image": image, "x": x, "y": 0}


def main() -> None:
    """Writes `places.csv` and links to the image folders."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("protocol", choices=[*SPANS, "corridor"])
    parser.add_argument("--images", type=pathlib.Path, required=True, help="folder of the images")
    parser.add_argument("--raw", type=pathlib.Path, required=True, help="folder to write")
    parser.add_argument(
        "--drop_still", action="store_true", help="clean Nordland's training frames"
    )
    args = parser.parse_args()
    images = args.images.absolute()
    if args.protocol == "corridor":
        rows = corridor(images)
    else:
        try:
            rows = nordland(images, args.protocol, args.drop_still)
        except DataError as error:
            parser.error(str(error))
    lacking = SEQUENCES[args.protocol] - {row["sequence"] for row in rows}
    if lacking:
        parser.error(f"--images={args.images} holds no frames of {', '.join(sorted(lacking))}")
    args.raw.mkdir(parents=True, exist_ok=True)
    for folder in sorted({row["image"].split("/")[0] for row in rows}):
        link = args.raw / folder
        if link.is_symlink() and link.resolve() != (images / folder).resolve():
            link.unlink()  # it leads to other images
        if not link.is_symlink():
            link.symlink_to(images / folder)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(args.raw / "places.csv", text.getvalue())
    counts = {
        name: sum(r["sequence"] == name for r in rows) for name in {r["sequence"] for r in rows}
    }
    print(f"{args.raw / 'places.csv'}: {dict(sorted(counts.items()))}")


if __name__ == "__main__":
    main()
