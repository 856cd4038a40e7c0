"""What a map knows of its images beside their descriptors, in memory and as one file."""

import dataclasses
import pathlib

import numpy as np

from vprjax.errors import DataError, naming

TEXTS = ("image_ids", "paths", "drives")
NUMBERS = ("headings", "times", "altitudes", "stamps")


@dataclasses.dataclass(frozen=True)
class Frames:
    """The images of a map, or of what is to become one, in time order within a drive.

    Attributes:
      image_ids: `(n,)` str.
      paths: `(n,)` str, the image's file; "" where it lies in a prepared dataset.
      drives: `(n,)` str, the split or sequence of an image.
      positions: `(n, 2)` float64, position units, NaN where unknown.
      headings: `(n,)` float64 radians, NaN where unknown.
      times: `(n,)` float64 seconds, NaN where unknown.
      altitudes: `(n,)` float64, NaN where unknown.
      stamps: `(n,)` int64, a digest of the file's size and time of change; 0 where unknown.
      unit: name of the position unit.
      crs: what the positions are coordinates of, e.g. "EPSG:32631"; None where unknown.
    """

    image_ids: np.ndarray
    paths: np.ndarray
    drives: np.ndarray
    positions: np.ndarray
    headings: np.ndarray
    times: np.ndarray
    altitudes: np.ndarray
    unit: str = "m"
    crs: str | None = None
    stamps: np.ndarray | None = None

    def __post_init__(self):
        """Datasets and maps of earlier versions have no stamps."""
        if self.stamps is None:
            object.__setattr__(self, "stamps", np.zeros(len(self.image_ids), np.int64))

    def __len__(self) -> int:
        return len(self.image_ids)

    def subset(self, indices: np.ndarray) -> "Frames":
        """The images at `indices`."""
        columns = (*TEXTS, *NUMBERS, "positions")
        return dataclasses.replace(self, **{name: getattr(self, name)[indices] for name in columns})

    def write(self, path: pathlib.Path) -> None:
        """Writes the columns atomically; equal frames give equal bytes.

        Raises:
          OSError: the file cannot be written.
        """
        partial = path.with_name(f".{path.name}.partial")
        columns = {name: getattr(self, name) for name in (*TEXTS, *NUMBERS, "positions")}
        columns |= {name: np.array(columns[name], np.str_) for name in TEXTS}
        with naming(path), partial.open("wb") as file:
            np.savez(file, **columns)
        partial.replace(path)

    @classmethod
    def read(cls, path: pathlib.Path, unit: str, crs: str | None) -> "Frames":
        """The frames of a file.

        Raises:
          DataError: the file is missing or damaged.
        """
        try:
            with path.open("rb") as file:  # numpy leaves a damaged file open
                found = np.load(file, allow_pickle=False)
                names = (*TEXTS, *NUMBERS, "positions")
                columns = {name: found[name] for name in names if name != "stamps"}
                columns["stamps"] = found["stamps"] if "stamps" in found else None
        except Exception as error:  # a damaged file makes numpy and zipfile raise anything
            raise DataError(
                f"{path} cannot be read ({error}); delete {path.parents[1]} and build the map again"
            ) from error
        return cls(**columns, unit=unit, crs=crs)


def joined(parts: list[Frames]) -> Frames:
    """Frames of one unit and system, one part after the other."""
    if len(parts) == 1:
        return parts[0]
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in (*TEXTS, *NUMBERS, "positions")
    }
    return Frames(**columns, unit=parts[0].unit, crs=parts[0].crs)
