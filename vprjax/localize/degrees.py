"""Latitude and longitude in WGS84 of a map's positions."""

from collections.abc import Callable

import numpy as np
import pyproj

from vprjax.errors import DataError

DIGITS = 8  # of a degree: a millimetre


def change(crs: str) -> Callable[[np.ndarray], list[list[float] | None]]:
    """What gives `[latitude, longitude]` for each of positions `(n, 2)` of a system such as "EPSG:32631".

    An unknown position, and one beyond the projection, gives None.

    Raises:
      DataError: there is no way from this system to WGS84.
    """
    try:
        found = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    except pyproj.exceptions.ProjError as error:
        raise DataError(f"no way from {crs} to WGS84 ({error})") from error

    def degrees(positions: np.ndarray) -> list[list[float] | None]:
        longitudes, latitudes = found.transform(*np.asarray(positions, np.float64).T)
        pairs = np.stack([latitudes, longitudes], axis=1).round(DIGITS)
        return [pair.tolist() if np.isfinite(pair).all() else None for pair in pairs]

    return degrees
