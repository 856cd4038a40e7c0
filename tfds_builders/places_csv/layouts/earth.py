"""Places measured from the earth's centre, and all of a dataset's on one flat map."""

import numpy as np

from tfds_builders.places_csv import zones
from tfds_builders.places_csv.layouts.drives import Drive, Shots
from tfds_builders.places_csv.layouts.variant import Told
from tfds_builders.poses.rigid import Poses

CENTRE, DEGREES = 4978, 4979  # EPSG: metres from the centre; longitude, latitude and height


def of_degrees(degrees: np.ndarray) -> np.ndarray:
    """Metres from the earth's centre `(n, 3)` of latitudes, longitudes and heights above the ellipsoid."""
    import pyproj

    onto = pyproj.Transformer.from_crs(DEGREES, CENTRE, always_xy=True)
    return np.stack(onto.transform(*degrees.T[[1, 0, 2]]), axis=1)


def on_one_map(shots: dict[Drive, Shots], told: Told) -> dict[Drive, Shots]:
    """The shots of all drives with places in one UTM zone and height; `told` takes the zone.

    Rotations turn to east, north and up at each place, so that headings are from true north.

    Args:
      shots: with places and rotations in metres from the earth's centre.
      told: takes the zone, and a warning per other one.
    """
    import pyproj

    onto = pyproj.Transformer.from_crs(CENTRE, DEGREES, always_xy=True)
    every = np.concatenate([taken.poses.places for taken in shots.values()])
    longitudes, latitudes, heights = onto.transform(*every.T)
    degrees = np.stack([latitudes, longitudes], axis=1)
    names = [str(source) for taken in shots.values() for source in taken.sources]
    plan, zone = zones.project(degrees, names, told.warnings)
    told.crs = zone.crs
    enu = _east_north_up(np.radians(latitudes), np.radians(longitudes))
    found, first = {}, 0
    for drive, taken in shots.items():
        part = slice(first, first + len(taken.sources))
        first = part.stop
        places = np.column_stack([plan[part], heights[part]])
        turned = Poses(taken.poses.times, places, enu[part] @ taken.poses.turns)
        found[drive] = taken._replace(poses=turned)
    return found


def _east_north_up(latitudes: np.ndarray, longitudes: np.ndarray) -> np.ndarray:
    """Rotations `(n, 3, 3)` from the earth's axes to east, north, up at places in radians."""
    a, b, c, d = np.sin(latitudes), np.cos(latitudes), np.sin(longitudes), np.cos(longitudes)
    rows = [[-c, d, 0 * a], [-a * d, -a * c, b], [b * d, b * c, a]]
    return np.array(rows).transpose(2, 0, 1)
