"""A map of places: images with positions and descriptors, which says where another picture was taken.

places = vprjax.Map.build(vprjax.load("runs/mine"), "monday/")
places.save("maps/monday")
answer = vprjax.Map.open("maps/monday").query("today.jpg", k=5)
"""

import functools
import os
import pathlib
import shutil
import tempfile
import weakref
from typing import Literal

import numpy as np

from vprjax import retrieval
from vprjax.console import log
from vprjax.errors import DataError
from vprjax.localize import additions, asked, calibration, folder, likeness, next_place, sources
from vprjax.localize.answer import LIKENESS, Answer, by_ratio, confidences, located
from vprjax.localize.calibration import Calibration
from vprjax.localize.follow import Follower
from vprjax.localize.frames import Frames, joined
from vprjax.retrieval.few import Few

MANY = 16  # queries from which on a search of many is quicker
Path = str | os.PathLike


def _path(at: Path) -> pathlib.Path:
    """A map's folder; raises DataError where it has no name, as a shell's unset variable gives none."""
    if not str(at):
        raise DataError("the map's folder has no name; give one")
    return pathlib.Path(at).expanduser()


class Map:
    """A map of places on disk; `build` and `open` make it.

    Attributes:
      folder: where it is.
      frames: its images: `image_ids`, `positions`, `headings`, `times`, ...
      descriptors: `(n, d)` float32, memory-mapped.
      unit: name of the position unit.
      crs: what the positions are coordinates of, None where unknown.
    """

    def __init__(self, at: pathlib.Path, model=None):
        """Opens the map at a folder; see `open`."""
        self._model, self._passed_over = None, False
        self._read(at)
        if model is not None:
            self._check_model(model)
            self._model = model

    def _read(self, at: pathlib.Path) -> None:
        header = folder.read_header(at)
        if header is None:
            begun = (at / folder.part_name(0)).is_dir()
            raise DataError(
                f"{at} holds no map"
                + (" (its building was cut short: run the same command again)" if begun else "")
                + "; build one with python -m vprjax.localize map"
            )
        opened = [folder.open_part(at / part["folder"], header) for part in header["parts"]]
        self.folder, self.header = at, header
        for name in ("drives", "_centre"):
            self.__dict__.pop(name, None)
        self.frames: Frames = joined([frames for _, frames in opened])
        self._few = Few([rows for rows, _ in opened])
        self.descriptors = self._few.references

    @classmethod
    def build(
        cls, model, source: Path, at: Path | None = None, data_dir: str | None = None
    ) -> "Map":
        """Describes the images of a source.

        Args:
          model: what `vprjax.load` gives.
          source: a folder, its `places.csv`, a positions file (.json), or a split of a prepared dataset
            such as "places_csv/mine:reference".
          at: folder of the map. A killed build in the same folder goes on where it stopped. By default the
            map is a temporary one until `save`.
          data_dir: where prepared datasets are; $TFDS_DATA_DIR, else TFDS's default.

        Raises:
          DataError: the source or an image cannot be read, or the folder holds another map.
        """
        if at is not None:  # before the source is read, and a lock's file lies among others
            folder.check_own(_path(at))
        found = additions.unique(sources.read(source, data_dir))
        where = _path(tempfile.mkdtemp(prefix="vprjax-map-") if at is None else at)
        try:
            with folder.held(where):
                additions.first(where, model, found, str(source), data_dir)
            built = cls(where, model)
        except BaseException:
            if at is None:
                shutil.rmtree(where, ignore_errors=True)
            raise
        if at is None:
            built._temporary = weakref.finalize(built, shutil.rmtree, where, ignore_errors=True)
        return built

    @classmethod
    def open(cls, at: Path, model=None) -> "Map":
        """Opens the map in a folder; descriptors stay on disk.

        Args:
          at: the folder.
          model: the model that built it; by default the first query loads it from where it was.

        Raises:
          DataError: there is no whole map, or the model is another one.
        """
        return cls(_path(at), model)

    def save(self, at: Path) -> None:
        """Copies the map to a new folder, where it is from then on.

        Raises:
          DataError: the folder holds something.
          OSError: it cannot be written.
        """
        at = _path(at)
        if at.exists() and (not at.is_dir() or any(at.iterdir())):
            raise DataError(f"{at} holds something already; name a new folder")
        partial = at.with_name(f".{at.name}.{os.getpid()}.partial")
        at.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copytree(self.folder, partial)
            partial.replace(at)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        self._read(at)
        getattr(self, "_temporary", lambda: None)()

    def add(self, source: Path, data_dir: str | None = None) -> int:
        """Describes the images of a source that the map lacks and adds them; returns their number.

        An image whose name the map uses for another file gets the source's name before its own. Positions
        in another system are brought to the map's. A killed `add` goes on where it stopped.

        Raises:
          DataError: as in `build`, or units or systems of positions do not fit.
        """
        found = sources.read(source, data_dir)
        with folder.held(self.folder):
            count = additions.further(self.folder, self.model, found, str(source), data_dir)
        self._read(self.folder)
        return count

    def __len__(self) -> int:
        return len(self.frames)

    @functools.cached_property
    def drives(self) -> np.ndarray:
        """`(n,)` int, equal for images of one split or sequence of one source."""
        parts = self.header["parts"]
        sources = np.repeat([part["source"] for part in parts], [part["images"] for part in parts])
        names = np.char.add(np.char.add(sources, "\n"), self.frames.drives)
        return np.unique(names, return_inverse=True)[1]

    @functools.cached_property
    def _centre(self) -> np.ndarray:
        """Of the descriptors, for likeness; the first answer by a calibration reads them."""
        return likeness.centre(self.descriptors)

    def __repr__(self) -> str:
        """Returns the folder, the number of images and the model's title."""
        return f"<Map {self.folder}: {len(self):,} images, {self.header['model']['title']}>"

    @property
    def unit(self) -> str:
        """Name of the position unit."""
        return self.frames.unit

    @property
    def crs(self) -> str | None:
        """What the positions are coordinates of, e.g. "EPSG:32631"; None where unknown."""
        return self.frames.crs

    @property
    def model(self):
        """The model that built the map.

        Raises:
          DataError: it is no longer where it was, or has changed.
        """
        if self._model is None:
            from vprjax.localize.load import load  # a map answers descriptors without these imports

            about = self.header["model"]
            if not about["source"]:
                raise DataError(f"{self.folder} does not say where its model is: {self._naming()}")
            try:
                found = load(about["source"], tuple(about["size"]))
            except Exception as error:
                raise DataError(
                    f"the model of {self.folder} cannot be loaded ({error}): {self._naming()}"
                ) from error
            self._check_model(found)
            self._model = found
        return self._model

    @staticmethod
    def _naming() -> str:
        return "pass the model that built it (Map.open(folder, model), or --model=PATH)"

    def _check_model(self, model) -> None:
        folder.check_model(self.folder, self.header, model)

    @property
    def calibration(self) -> Calibration | None:
        """What the measures of the model's answers mean: the map's own, else its run's, else None.

        One of another model, or of another size of pictures, does not count, and a line says so once.
        """
        file = self.folder / calibration.FILE
        found = calibration.read(file) if file.exists() else None
        if found is None and self.model.calibration:
            found = calibration.from_json(self.model.calibration)
        if found is None or found.model == self.model.id:
            return found
        if not self._passed_over:
            log(
                f"{self.folder}: its calibration is of another model or size of pictures and does not "
                "count; calibrate this map"
            )
        self._passed_over = True
        return None

    def follow(self, speed: float, radius: float = 25.0) -> Follower:
        """Answers the frames of a drive one by one, each from all frames so far (`place_filter`).

        Args:
          speed: the most that the camera moves, position units per second.
          radius: around the answer, position units; belief within it is the confidence.

        Raises:
          DataError: an image of the map has no position, or the speed is not above 0.
        """
        return Follower(self, speed, radius)

    def query(self, images, k: int = 5) -> Answer | list[Answer]:
        """Says where pictures were taken.

        Args:
          images: a path, PIL image or uint8 array `(h, w, 3)`; or several, as `Model.describe` takes them.
          k: number of places to name, at most.

        Returns:
          An `Answer`; a list of them for several pictures.

        Raises:
          DataError: a picture cannot be read, or the map's model is not there.
        """
        asked.check_k(k)
        model = self.model
        answers = self.query_descriptors(model.describe(images), k)
        return answers[0] if asked.is_one(images) else answers

    def distances(self, descriptor: np.ndarray) -> np.ndarray:
        """L2 distances `(n,)` float32 of one descriptor `(d,)` of the map's own model to all its images."""
        return self._few.all_of(descriptor)

    def query_descriptors(
        self,
        descriptors: np.ndarray,
        k: int = 5,
        calibration: Calibration | Literal["own"] | None = "own",
    ) -> list[Answer]:
        """The answers to descriptors of the map's own model.

        Neighbours and distances are those of `retrieval.search`, and so an evaluation's.

        Args:
          descriptors: `(q, d)` float.
          k: number of places to name, at most.
          calibration: what judges the answers. "own" is the map's `calibration`, as in `query`. None judges
            nothing and needs no model.

        Raises:
          ConfigError: they are no float array `(q, d)`, or hold NaN or infinity.
          DataError: they have another number of dimensions, or "own" lacks the map's model.
        """
        descriptors = asked.rows(descriptors, self.descriptors.shape)
        asked.check_k(k)
        if isinstance(calibration, str):
            calibration = self.calibration
        k = min(k, len(self))
        if len(descriptors) < MANY:
            found = self._find(descriptors, k, calibration)
        elif self._by_ratio(calibration):
            found = next_place.search(
                descriptors, self.descriptors, self.frames.positions, calibration.radius, k
            )
            found = found.distances, found.indices, found.ratios
        else:
            found = retrieval.nearest(descriptors, self.descriptors, k)
            found = *found, found[0]
        alike = np.full(len(descriptors), np.inf)
        if calibration is not None:
            alike = likeness.of(descriptors, self._centre)
        return [self._answer(*one, calibration) for one in zip(*found, alike, strict=True)]

    def nearest_of(
        self, numbers: np.ndarray, k: int, left_out: np.ndarray, calibration: Calibration | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distances, numbers and measures `(m, k)` of the images nearest to the map's own at `numbers`.

        `left_out` `(m, n)` names those that do not count; infinite distances stand for missing ones.
        """
        return self._find(self.descriptors[numbers], k, calibration, left_out)

    def _find(self, descriptors, k: int, calibration, left_out=None):
        """Distances, numbers and, as the calibration takes them, measures `(m, k)`."""
        if not self._by_ratio(calibration):
            distances, numbers = self._few(descriptors, k, left_out)
            return distances, numbers, distances
        found = next_place.search_few(
            self._few, descriptors, self.frames.positions, calibration.radius, k, left_out
        )
        return found.distances, found.indices, found.ratios

    def _by_ratio(self, calibration: Calibration | None) -> bool:
        """Whether ratios count: without any position there is no other place."""
        return by_ratio(calibration) and bool(np.isfinite(self.frames.positions).any())

    def _answer(self, distances, numbers, values, alike, calibration) -> Answer:
        positions = self.frames.positions[numbers]
        judge = calibration and calibration.judging(bool(np.isfinite(positions[0]).all()))
        value, rule = values[0] if by_ratio(judge) else distances[0], judge and judge.measure
        if judge and alike < judge.likeness:
            value, rule = np.inf, LIKENESS
        return Answer(
            self.frames.image_ids[numbers],
            positions,
            distances,
            float(confidences(value, judge)),
            located(value, judge),
            numbers,
            rule,
            judge.queries if judge else 0,
        )
