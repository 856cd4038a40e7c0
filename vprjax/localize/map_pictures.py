"""The pictures of a map's images, from where they were when it was built."""

import pathlib
from typing import Any

import numpy as np

from vprjax.data import pictures
from vprjax.errors import DataError


class MapPictures:
    """Reads the picture of an image of a map; each is decoded when it is asked for."""

    def __init__(self, places, form: pictures.Form):
        """Opens nothing yet.

        Args:
          places: the map.
          form: of its model.
        """
        self._places, self._form = places, form
        self._sources: dict[int, tuple[Any, dict[str, int]]] = {}

    def __call__(self, number: int) -> np.ndarray:
        """The picture of image `number`, uint8 `(h, w, 3)` RGB.

        Raises:
          DataError: it is no longer there, or damaged.
        """
        path = str(self._places.frames.paths[number])
        if not path:
            return self._prepared(number)
        try:
            raw = pathlib.Path(path).read_bytes()
        except OSError as error:
            raise DataError(f"picture {path} cannot be read ({error.strerror})") from error
        return pictures.decode(raw, path, self._form.sixteen_bit)

    def _prepared(self, number: int) -> np.ndarray:
        """The picture of an image that lies in a prepared dataset."""
        parts = self._places.header["parts"]
        ends = np.cumsum([part["images"] for part in parts])
        part = int(np.searchsorted(ends, number, side="right"))
        if part not in self._sources:
            from vprjax.localize import sources

            found = sources.read(parts[part]["source"], parts[part].get("data_dir"))
            names = {str(name): i for i, name in enumerate(found.frames.image_ids)}
            self._sources[part] = found.pictures(self._form), names
        source, names = self._sources[part]
        name = str(self._places.frames.image_ids[number])
        # An image whose name the map had already bears the dataset's name before its own.
        index = names.get(name, names.get(name.partition("/")[2]))
        if index is None:
            raise DataError(
                f"{parts[part]['source']} no longer has image {name}; build the map again"
            )
        return source.images([index])[0]
