"""Writes small raw folders for places_csv and reads built datasets back."""

import json

import cv2
import numpy as np
import tensorflow_datasets as tfds

from tfds_builders.__main__ import main


def image(seed: int, height: int = 12, width: int = 16) -> np.ndarray:
    """A smooth random image, BGR."""
    small = np.random.default_rng(seed).integers(0, 255, (3, 4, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def write_raw(folder, sequences=("train", "test01"), count=3, columns="", suffix=".png"):
    """A raw folder of `count` images a sequence; `columns` may hold heading, time, label."""
    columns = [name for name in columns.split(",") if name]
    lines = [",".join(["sequence", "image", "x", "y", *columns])]
    for number, sequence in enumerate(sequences):
        (folder / sequence).mkdir(parents=True)
        for i in range(count):
            name = f"{sequence}/{i:03d}{suffix}"
            cv2.imwrite(str(folder / name), image(100 * number + i))
            values = {"heading": 0.1 * i, "time": 1000 - i, "label": f"room{i}"}
            lines.append(
                ",".join([sequence, name, f"{i}.5", f"{-i}", *(str(values[c]) for c in columns)])
            )
    (folder / "places.csv").write_text("\n".join(lines) + "\n")
    return folder


def command(name, builder, raw, out, *more) -> int:
    """Runs the command line in this process."""
    return main([name, builder, f"--manual_dir={raw}", f"--data_dir={out}", *more])


def built(root, name="mine", *, builder):
    """Folder of a dataset that a test built below `root/out`."""
    return root / "out" / builder / name / "1.0.0"


def metadata(root, name="mine", *, builder) -> dict:
    """Metadata of such a dataset."""
    return json.loads((built(root, name, builder=builder) / "metadata.json").read_text())


def records(folder, split) -> list[dict]:
    """All records of a built dataset's split, images as encoded bytes."""
    builder = tfds.builder_from_directory(folder)
    source = builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})
    return [source[i] for i in range(len(source))]


def decoded(record) -> np.ndarray:
    """Uint8 BGR pixels of a record."""
    return cv2.imdecode(np.frombuffer(record["image"], np.uint8), cv2.IMREAD_COLOR)


def tree(folder) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
