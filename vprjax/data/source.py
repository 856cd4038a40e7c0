"""Built datasets: poses in memory, images read from disk by index."""

import dataclasses
import functools
import hashlib
import os
import pathlib
from typing import Any

import numpy as np

from vprjax.data import decoding, near, together
from vprjax.errors import DataError

FIELDS = ("image", "image_id", "position", "heading", "timestamp", "label")


@dataclasses.dataclass(frozen=True)
class Places:
    """The images of one or more splits with their poses, in stored (time) order.

    Attributes:
      image_ids: `(n,)` str.
      positions: `(n, 2)` float64, easting/x and northing/y in position units, NaN where unknown.
      headings: `(n,)` float64 radians, NaN where unknown.
      timestamps: `(n,)` int64 microseconds or frame order.
      labels: `(n,)` str, may be empty.
      splits: `(n,)` int, the number in `split_names` of an image's split.
      split_names: names of the splits.
      sources: random-access records, one source per split.
      records: `(n,)` int64, the number of an image's record in its split's source.
      windows: the frames that each image stands for, where the dataset asks with windows of frames.
    """

    image_ids: np.ndarray
    positions: np.ndarray
    headings: np.ndarray
    timestamps: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    split_names: tuple[str, ...]
    sources: tuple
    records: np.ndarray
    windows: together.Windows | None = None

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def located(self) -> np.ndarray:
        """Numbers of the images whose position is known."""
        return np.flatnonzero(np.isfinite(self.positions).all(axis=1))

    def subset(self, indices: np.ndarray) -> "Places":
        """Returns the images at `indices`, numbered anew from 0 in that order."""
        columns = "image_ids positions headings timestamps labels splits records".split()
        kept = {name: getattr(self, name)[indices] for name in columns}
        windows = self.windows and self.windows._replace(numbers=self.windows.numbers[indices])
        return dataclasses.replace(self, **kept, windows=windows)

    def image_set(self) -> str:
        """Returns the SHA-256 of all ids, all poses and the first image; another build changes it."""
        digest = hashlib.sha256("\n".join(map(str, self.image_ids)).encode())
        for column in (self.positions, self.headings, self.timestamps):
            digest.update(np.ascontiguousarray(column).tobytes())
        digest.update(self.encoded([0])[0])
        return digest.hexdigest()

    @functools.cached_property
    def contents(self) -> str:
        """SHA-256 of all ids, positions and encoded images, whichever dataset holds them.

        Raises:
          DataError: a record cannot be read.
        """
        digest = hashlib.sha256("\n".join(map(str, self.image_ids)).encode())
        digest.update(np.ascontiguousarray(self.positions).tobytes())
        for number in range(len(self)):
            (image,) = self.encoded([number])
            digest.update(len(image).to_bytes(8, "little") + image)
        return digest.hexdigest()

    def encoded(self, indices) -> list[bytes]:
        """Returns the encoded bytes of the images at `indices`, in any order and with repeats.

        Raises:
          DataError: a record cannot be read; the error names the image.
        """
        out = []
        for index in np.asarray(indices).ravel():
            split = self.splits[index]
            try:
                out.append(self.sources[split][int(self.records[index])]["image"])
            except Exception as error:
                name = f"{self.image_ids[index]} (split {self.split_names[split]})"
                raise DataError(
                    f"the record of image {name} cannot be read ({error}); build the dataset again"
                ) from error
        return out

    def images(self, indices) -> np.ndarray:
        """Returns the images at `indices` `(...)` as uint8 `(..., h, w, 3)`, RGB.

        Raises:
          DataError: an image does not decode, or differs in size from the others; the error names it.
        """
        indices = np.asarray(indices)
        flat = indices.ravel()
        images = decoding.decode_all(lambda rows: self.encoded(flat[rows]), self.image_ids[flat])
        return images.reshape(*indices.shape, *images.shape[1:])


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A built TFDS dataset: its name, version, folder, counts of places by split and metadata."""

    name: str
    version: str
    counts: dict[str, int]
    metadata: dict
    folder: pathlib.Path
    _builder: Any = dataclasses.field(repr=False)
    _read: dict[str, "Places"] = dataclasses.field(default_factory=dict, repr=False)

    def images(self, split: str) -> int:
        """Returns the number of a split's images, also where its places are windows of them."""
        return self._builder.info.splits[split].num_examples

    def places(self, splits: tuple[str, ...]) -> Places:
        """Returns the poses of the named splits, one after the other, with random access to images.

        The first use of a split reads its poses, once.

        Raises:
          DataError: a split is missing, lacks fields of the common schema, or cannot be read.
        """
        known = self._builder.info.splits
        unknown = [name for name in splits if name not in known]
        if unknown:
            raise DataError(
                f"{self.folder} has no split {', '.join(unknown)}; it has {', '.join(known)}"
            )
        missing = sorted(set(FIELDS) - set(self._builder.info.features))
        if missing:
            raise DataError(
                f"{self.folder} lacks the fields {', '.join(missing)} of the common schema; build it again"
            )
        for name in splits:
            if name not in self._read:
                records = _open_split(self._builder, name)
                frames = read_poses(name, records)
                frames = dataclasses.replace(frames, sources=(_Images(self._builder, records),))
                self._read[name] = together.places_of(self.metadata, name, frames)
        return together.joined([self._read[name] for name in splits])


def data_dir(config) -> pathlib.Path:
    """Returns the datasets' folder: `dataset.data_dir`, else $TFDS_DATA_DIR, else TFDS's default.

    Raises:
      DataError: the folder is an address.
    """
    folder = config.dataset.data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    if "://" in folder:
        raise DataError(
            f"{folder} (dataset.data_dir or $TFDS_DATA_DIR) must be a folder: mount the bucket and name "
            "it there"
        )
    return pathlib.Path(folder).expanduser()


def split_name(name: str) -> tuple[str, str, str]:
    """Splits TFDS's `builder/config:version` into (builder, config, version); a missing part is ""."""
    name, _, version = name.partition(":")
    builder, _, builder_config = name.partition("/")
    return builder, builder_config, version


def find(config) -> pathlib.Path | None:
    """Returns the folder of the version in `dataset.name`, else of the newest; None if not built."""
    name, _, version = config.dataset.name.partition(":")
    root = data_dir(config) / name
    if version:
        return root / version if (root / version / "dataset_info.json").is_file() else None
    return _newest(root)


def _newest(root: pathlib.Path) -> pathlib.Path | None:
    """The folder of the newest version of the dataset in `root`."""
    versions = [p.parent for p in root.glob("*/dataset_info.json")]
    numbers = [p for p in versions if all(part.isdigit() for part in p.name.split("."))]
    return max(numbers, key=lambda p: tuple(map(int, p.name.split("."))), default=None)


def open_dataset(config) -> Dataset:
    """Opens the config's dataset without reading records.

    Raises:
      DataError: the dataset is damaged or not built; the sentence holds the build command.
    """
    folder = find(config)
    if folder is None:
        raise DataError(missing_sentence(config))
    import tensorflow_datasets as tfds  # here, because it costs 0.6 s at start-up

    try:
        builder = tfds.builder_from_directory(folder)
        if str(builder.version) != folder.name:
            raise ValueError(f"dataset_info.json has version {builder.version}")
        _ = builder.info.metadata, builder.info.features, builder.info.splits
    except Exception as error:  # a damaged file makes TFDS raise anything
        raise DataError(
            f"the description of dataset {folder} is damaged ({_first_line(error)}); "
            "build the dataset again"
        ) from error
    counts = {split: found.num_examples for split, found in builder.info.splits.items()}
    metadata = dict(builder.info.metadata or {})
    name, _, _ = config.dataset.name.partition(":")
    counts = together.counts(metadata, counts)
    return Dataset(name, str(builder.version), counts, metadata, folder, builder)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def missing_sentence(config) -> str:
    """Returns the sentence on a missing dataset, with the command that builds it."""
    builder, name, version = split_name(config.dataset.name)
    begin = f"dataset {config.dataset.name!r} is not built under {data_dir(config)}"
    newest = _newest(data_dir(config) / builder / name) if version else None
    if newest:
        return f"{begin}: its newest version there is {newest.name}, and none is {version!r}; name that one"
    if like := near.names(data_dir(config), builder, name):
        return f"{begin}; write {like[0]}"
    option = ""
    if name and builder == "places_csv":
        option = f""" --config='{{"name": "{name}", "height": H, "width": W}}'"""
    elif name:
        option = f" --config={name}"
    raw = "" if builder == "synthetic" else " --manual_dir=RAW"
    return (
        f"{begin}; build it with: "
        f"python -m tfds_builders build {builder}{raw} --data_dir={data_dir(config)}{option}"
    )


def under_key(error: DataError, key: str) -> str:
    """Returns the sentence of `open_dataset` for a name that another config key than dataset.name holds."""
    return f"{key}: {error}".replace(f"; write {near.NAME}=", "; write there ")


def load(config, splits: tuple[str, ...]) -> Places:
    """Returns `Dataset.places` of the config's dataset."""
    return open_dataset(config).places(splits)


def _open_split(builder, name: str):
    """Opens a split's records for random access; checks that the shards hold the listed number."""
    import tensorflow_datasets as tfds
    from array_record.python import array_record_module

    try:
        source = builder.as_data_source(split=name, decoders={"image": tfds.decode.SkipDecoding()})
        for path, listed in zip(
            builder.info.splits[name].filepaths,
            builder.info.splits[name].shard_lengths,
            strict=True,
        ):
            held = array_record_module.ArrayRecordReader(str(path)).num_records()
            if held != listed:
                raise ValueError(f"dataset_info.json lists {listed} records, {path} holds {held}")
        return source
    except Exception as error:
        raise DataError(
            f"split {name!r} cannot be opened ({_first_line(error)}); build the dataset again"
        ) from error


class _Images:
    """A split's records without their other fields, whose parsing takes as long as the image's."""

    def __init__(self, builder, records):
        """Takes what `_open_split` has opened."""
        import tensorflow_datasets as tfds

        self._encoded = records.data_source
        self._features = tfds.features.FeaturesDict({"image": builder.info.features["image"]})
        self._decoders = records.decoders

    def __getitem__(self, number: int) -> dict:
        return self._features.deserialize_example_np(self._encoded[number], decoders=self._decoders)


def _record(source, number: int, split: str) -> dict:
    try:
        return source[number]
    except Exception as error:
        raise DataError(
            f"record {number} of split {split!r} cannot be read ({error}); build the dataset again"
        ) from error


def read_poses(name: str, source) -> Places:
    """Reads the poses of split `name` from random-access records; the images stay unread.

    Raises:
      DataError: a record cannot be read.
    """
    ids, positions, headings, timestamps, labels = [], [], [], [], []
    for i in range(len(source)):
        record = _record(source, i, name)
        ids.append(record["image_id"].decode())
        positions.append(record["position"])
        headings.append(record["heading"])
        timestamps.append(record["timestamp"])
        labels.append(record["label"].decode())
    return Places(
        image_ids=np.array(ids, dtype=object),
        positions=np.array(positions, np.float64).reshape(-1, 2),
        headings=np.array(headings, np.float64),
        timestamps=np.array(timestamps, np.int64),
        labels=np.array(labels, dtype=object),
        splits=np.zeros(len(ids), np.int64),
        split_names=(name,),
        sources=(source,),
        records=np.arange(len(ids), dtype=np.int64),
    )
