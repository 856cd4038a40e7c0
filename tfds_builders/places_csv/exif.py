"""What a photo's EXIF data say of its place, direction and time."""

import datetime
import math
import pathlib
import re
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import PIL.Image
from PIL.ExifTags import GPS, IFD, Base

from tfds_builders.errors import RawDataError
from tfds_builders.frame import LATEST, from_north
from tfds_builders.places_csv import zones

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class Photo(NamedTuple):
    """What one photo's EXIF data say; NaN and None where they do not.

    Attributes:
      image: path relative to the folder.
      split: name of its sequence.
      source: the file.
      fault: why it has no position, or "".
      degrees: latitude and longitude, WGS 84.
      altitude: metres above the sea.
      heading: radians clockwise from north.
      magnetic: whether that is magnetic north.
      utc: microseconds of the camera's clock and its offset.
      local: the same without an offset.
      satellites: microseconds of the GPS receiver's clock.
    """

    image: str
    split: str
    source: pathlib.Path
    fault: str
    degrees: tuple[float, float] = (math.nan, math.nan)
    altitude: float = math.nan
    heading: float = math.nan
    magnetic: bool = False
    utc: int | None = None
    local: int | None = None
    satellites: int | None = None


def read_photo(path: pathlib.Path, image: str, split: str) -> Photo:
    """What a photo's EXIF data say; reads no pixel.

    Raises:
      RawDataError: the file cannot be read or is no image.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a large image and of cut EXIF data
            with PIL.Image.open(path) as file:
                try:
                    exif = file.getexif()
                    gps, own = exif.get_ifd(IFD.GPSInfo), exif.get_ifd(IFD.Exif)
                except Exception:  # damaged EXIF data make Pillow raise anything
                    return Photo(image, split, path, "EXIF data that cannot be read")
    except PIL.Image.DecompressionBombError as error:
        raise RawDataError(f"{path}: it has too many pixels; leave it out") from error
    except Exception as error:  # a damaged header makes it raise anything too
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "no image"
        raise RawDataError(
            f"{path}: it cannot be opened ({reason}); replace the file or leave it out"
        ) from error
    fault, degrees = _degrees(gps)
    angle = _number(gps.get(GPS.GPSImgDirection))
    local, utc = _camera_time(own)
    return Photo(
        image,
        split,
        path,
        fault,
        degrees,
        altitude=_altitude(gps),
        heading=from_north(angle) if 0 <= angle <= 360 else math.nan,
        magnetic=_text(gps.get(GPS.GPSImgDirectionRef)) == "M" and 0 <= angle <= 360,
        utc=utc,
        local=local,
        satellites=_satellite_time(gps),
    )


def _degrees(gps: dict) -> tuple[str, tuple[float, float]]:
    """The fault of a photo's position or "", and its latitude and longitude."""
    unknown = (math.nan, math.nan)
    if GPS.GPSLatitude not in gps or GPS.GPSLongitude not in gps:
        return "no GPS position", unknown
    found = []
    for value, reference, letters in (
        (gps[GPS.GPSLatitude], gps.get(GPS.GPSLatitudeRef), "NS"),
        (gps[GPS.GPSLongitude], gps.get(GPS.GPSLongitudeRef), "EW"),
    ):
        parts = list(_numbers(value))
        if not parts or any(map(math.isnan, parts)):  # Pillow reads x/0 as NaN
            return "a GPS position that holds no number or a denominator of 0", unknown
        letter = _text(reference)[:1]
        if not letter or letter not in letters:
            return "a GPS position that does not tell its hemisphere", unknown
        angle = sum(part / 60**i for i, part in enumerate(parts[:3]))
        found.append(-angle if letter == letters[1] else angle)
    latitude, longitude = found
    if found == [0, 0]:
        return "the GPS position 0, 0 of a receiver without a fix", unknown
    if not (abs(latitude) <= zones.FARTHEST_NORTH and abs(longitude) <= 180):
        most = f"{zones.FARTHEST_NORTH} degrees of latitude or 180 of longitude"
        return f"a GPS position beyond {most}", unknown
    return "", (latitude, longitude)


def _altitude(gps: dict) -> float:
    """Metres above the sea, NaN without; reference 1 and, from EXIF 3.0 on, 3 mean below.

    Pillow gives the reference as a byte.
    """
    height = _number(gps.get(GPS.GPSAltitude))
    below = gps.get(GPS.GPSAltitudeRef) in (b"\x01", b"\x03", 1, 3)
    return (-height if below else height) if math.isfinite(height) else math.nan


def _camera_time(own: dict) -> tuple[int | None, int | None]:
    """Microseconds of DateTimeOriginal, as they stand and in UTC; None where unknown."""
    moment = _moment(_text(own.get(Base.DateTimeOriginal)))
    if moment is None:
        return None, None
    fraction = re.match(r"\d{1,6}", _text(own.get(Base.SubsecTimeOriginal)), re.ASCII)
    local = moment + (int(fraction[0].ljust(6, "0")) if fraction else 0)
    offset = re.fullmatch(r"([+-])(\d\d):(\d\d)", _text(own.get(Base.OffsetTimeOriginal)), re.ASCII)
    if offset is None:
        return local, None
    minutes = (60 * int(offset[2]) + int(offset[3])) * (1 if offset[1] == "+" else -1)
    return local, local - minutes * 60 * 10**6


def _satellite_time(gps: dict) -> int | None:
    """Microseconds of the GPS date and time, UTC, or None."""
    day = _moment(_text(gps.get(GPS.GPSDateStamp)) + " 00:00:00")
    clock = list(_numbers(gps.get(GPS.GPSTimeStamp)))
    if day is None or len(clock) != 3 or not all(0 <= value <= 60 for value in clock):
        return None
    hours, minutes, seconds = clock
    if hours >= 24 or minutes >= 60:
        return None
    return day + round(((hours * 60 + minutes) * 60 + seconds) * 1e6)


def _moment(text: str) -> int | None:
    """Microseconds of `YYYY:MM:DD hh:mm:ss`, taken as UTC; None for the blanks of an unset clock."""
    found = re.fullmatch(r"(\d{4})\D(\d\d)\D(\d\d)\D(\d\d)\D(\d\d)\D(\d\d)", text, re.ASCII)
    try:
        moment = datetime.datetime(*map(int, found.groups()), tzinfo=datetime.UTC)
    except (AttributeError, ValueError):  # other text, or a thirteenth month
        return None
    micros = (moment - EPOCH) // datetime.timedelta(microseconds=1)
    return micros if abs(micros) < LATEST - 10**12 else None  # an offset and a fraction fit too


def _text(value) -> str:
    """A text of the EXIF data; some writers leave zeros or blanks behind it."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return value.strip("\0 ").upper() if isinstance(value, str) else ""


def _numbers(value) -> Iterator[float]:
    """The numbers of a value that holds one or several; NaN for anything else."""
    for part in value if isinstance(value, tuple) else (value,):
        yield _number(part)


def _number(value) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, ArithmeticError):
        return math.nan
