"""UTM zones: of texts and of degrees, and several of them projected into one."""

import collections
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tfds_builders.errors import RawDataError

BANDS = "CDEFGHJKLMNPQRSTUVWX"  # of 8 degrees of latitude, from 80 S; the north begins at N
FARTHEST_NORTH = 84  # degrees of latitude where UTM ends; as far in the south
NORTH, SOUTH = 32600, 32700  # EPSG codes of WGS 84 UTM, to which a zone's number is added
MOST_STRETCH = (
    0.05  # of lengths far from a zone's middle, above which one zone cannot hold the rest
)

MANY = 10  # places that lie on one grid by chance no longer
DEGREE = 111_000  # metres of a degree of latitude
GRIDS = (  # name, and parts of a degree; the coarsest first
    ("whole degrees", 1),
    ("0.1 degrees", 10),
    ("whole minutes", 60),
    ("0.01 degrees", 100),
    ("0.001 degrees", 1000),
    ("whole seconds", 3600),
    ("0.0001 degrees", 10_000),
)


class Zone(NamedTuple):
    """A UTM zone, 1 to 60, on one side of the equator."""

    number: int
    north: bool

    def __str__(self) -> str:
        """E.g. `30 north`."""
        return f"{self.number} {'north' if self.north else 'south'}"

    @property
    def epsg(self) -> int:
        """The EPSG code of its coordinates in WGS 84."""
        return (NORTH if self.north else SOUTH) + self.number

    @property
    def crs(self) -> str:
        """The name of its coordinate system, e.g. `EPSG:32630`."""
        return f"EPSG:{self.epsg}"


def parse(zone: str, letter: str, latitude: str, northing: float) -> Zone | None:
    """The zone of a file name's fields; None where both zone and letter are empty.

    A latitude tells north from south before the letter does. Some write S for the south, not for the band
    of 32 to 40 degrees north: it is the band where the northing lies in it.

    Raises:
      ValueError: the texts name no zone, or a zone without its side of the equator.
    """
    match = re.fullmatch(r"(\d{1,2})\s*([A-Za-z]?)", zone, re.ASCII)
    if not zone and not letter:
        return None
    band = (letter or (match[2] if match else "")).upper()
    if match is None or not 1 <= int(match[1]) <= 60 or (band and band not in BANDS):
        raise ValueError(f"zone {zone!r} and letter {letter!r} are no UTM zone")
    try:
        north = float(latitude) >= 0
    except ValueError:
        if not band:
            raise ValueError(f"zone {zone!r} has no letter") from None
        north = band >= "N" and (band != "S" or _in_band_s(northing))
    return Zone(int(match[1]), north)


def _in_band_s(northing: float) -> bool:
    """Whether a northing lies 32 to 40 degrees north; those numbers are rare in the south, at 50 to 58."""
    return 3.5e6 < northing < 4.5e6


def at(latitude: float, longitude: float) -> Zone:
    """The zone of a place, in degrees; zones 31 to 37 are wider or narrower in Norway and Svalbard."""
    number = int((longitude + 180) // 6) % 60 + 1
    if 56 <= latitude < 64 and 3 <= longitude < 12:
        number = 32
    elif latitude >= 72 and 0 <= longitude < 42:
        number = 31 + 2 * int((longitude + 3) // 12)
    return Zone(number, latitude >= 0)


def project(
    degrees: np.ndarray, names: Sequence[str], warnings: list[str]
) -> tuple[np.ndarray, Zone]:
    """Projects latitudes and longitudes `(n, 2)`, WGS 84, into the UTM zone that holds most of them.

    Args:
      degrees: latitudes up to 84 degrees, longitudes up to 180.
      names: of the images, for the error.
      warnings: takes a sentence per other zone.

    Returns:
      Eastings and northings `(n, 2)`, metres, and their zone.

    Raises:
      RawDataError: see `into_one`.
    """
    zones = [at(*place) for place in degrees.tolist()]
    positions = np.empty_like(degrees)
    for zone in set(zones):
        chosen = np.array([other == zone for other in zones])
        positions[chosen] = onto(degrees[chosen], zone)
    positions, target, stretches = into_one(positions, zones, names)
    warnings += moved(zones, target, stretches)
    return positions, target


def coarse(degrees: np.ndarray, split: str) -> Iterator[str]:
    """Yields a sentence where all latitudes and longitudes `(n, 2)` of a split are rounded.

    GRIDS holds what they may be rounded to: decimals, whole minutes or whole seconds.
    """
    for name, parts in GRIDS if len(degrees) >= MANY else ():
        if np.abs(degrees * parts - np.round(degrees * parts)).max() < 1e-6:
            yield (
                f"{split}: latitudes and longitudes are rounded to {name}, {DEGREE / parts:.2g} m of "
                "latitude: figures at smaller tolerances mean little"
            )
            return


def onto(degrees: np.ndarray, zone: Zone) -> np.ndarray:
    """Eastings and northings `(n, 2)` in a zone of latitudes and longitudes `(n, 2)`, WGS 84."""
    import pyproj

    transformer = pyproj.Transformer.from_crs(4326, zone.epsg, always_xy=True)
    return np.stack(transformer.transform(*degrees[:, ::-1].T), axis=1)


def side_by_side(positions: np.ndarray, zone: Zone) -> np.ndarray:
    """Positions `(n, 2)` of one zone where no other zone's can lie near them.

    x is the easting + 1,000,000 times the zone's number; y the northing, less 10,000,000 in the south,
    where it is negative. Two zones are then 300 km apart or more, wherever their places lie on earth.
    """
    return positions + np.array([1e6 * zone.number, 0.0 if zone.north else -1e7])


SIDE_BY_SIDE = (
    "x is the easting of the image's own zone + 1,000,000 times the zone's number, y the northing, less "
    "10,000,000 in the south"
)


def to_degrees(positions: np.ndarray, crs: str) -> np.ndarray:
    """Latitudes and longitudes `(n, 2)`, WGS 84, of positions in a coordinate system."""
    import pyproj

    back = pyproj.Transformer.from_crs(crs, 4326, always_xy=True)
    return np.stack(back.transform(*positions.T), axis=1)[:, ::-1]


def moved(zones: Sequence[Zone], target: Zone, stretches: dict[Zone, float]) -> Iterator[str]:
    """Yields a sentence per zone whose positions `into_one` moved into `target`."""
    for zone, stretch in stretches.items():
        yield (
            f"positions of {zones.count(zone)} images in UTM zone {zone} are projected into zone "
            f"{target}, which changes distances there by up to {stretch:.2%}"
        )


def into_one(
    positions: np.ndarray, zones: Sequence[Zone], names: Sequence[str]
) -> tuple[np.ndarray, Zone, dict[Zone, float]]:
    """Projects eastings and northings `(n, 2)`, metres, into the zone that holds most of them.

    Positions of that zone keep all their digits. Grid north of another zone turns by some degrees there;
    headings from true north stay as they are. `names` are the images', for the error.

    Returns:
      The positions, their zone, and per other zone by how much it lengthens or shortens distances.

    Raises:
      RawDataError: the zones lie too far apart for one plane, or a position is outside its zone's domain.
    """
    import pyproj  # takes time to import, and most datasets need none of it

    counts = collections.Counter(zones)
    target = min(counts, key=lambda zone: (-counts[zone], zone))
    plane = pyproj.Proj(target.epsg)
    positions, stretches = positions.copy(), {}
    for zone in sorted(counts.keys() - {target}):
        chosen = np.array([other == zone for other in zones])
        move = pyproj.Transformer.from_crs(zone.epsg, target.epsg, always_xy=True)
        degrees = pyproj.Transformer.from_crs(zone.epsg, 4326, always_xy=True)
        moved = np.stack(move.transform(*positions[chosen].T), axis=1)
        scale = plane.get_factors(*degrees.transform(*positions[chosen].T)).meridional_scale
        stretch = float(np.max(np.abs(np.asarray(scale) - 1)))
        if not np.isfinite(moved).all() or not stretch < MOST_STRETCH:
            raise RawDataError(
                f"positions of UTM zone {zone} lie too far from zone {target} for one flat map "
                f"({counts[zone]:,} images there, e.g. {names[zones.index(zone)]}); build a dataset per "
                "zone, each from a folder of its own"
            )
        positions[chosen], stretches[zone] = moved, stretch
    return positions, target, stretches
