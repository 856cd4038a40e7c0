"""Writes small photos with EXIF data, as telephones do."""

import pathlib
import struct

import PIL.Image
from PIL.ExifTags import GPS, IFD, Base
from PIL.TiffImagePlugin import IFDRational

from tests.helpers.raw_places import image

PRIME = 4_000_000_007  # stands for a denominator of 0, which Pillow 11.0 does not write


def angle(degrees: float) -> tuple[IFDRational, ...]:
    """Degrees, minutes and seconds to 1e-7 of a second."""
    minutes = abs(degrees) % 1 * 60
    seconds = round(minutes % 1 * 60 * 10**7)
    return (
        IFDRational(int(abs(degrees)), 1),
        IFDRational(int(minutes), 1),
        IFDRational(seconds, 10**7),
    )


def place(latitude: float, longitude: float) -> dict:
    """The four GPS tags of a place."""
    return {
        GPS.GPSLatitudeRef: "N" if latitude >= 0 else "S",
        GPS.GPSLatitude: angle(latitude),
        GPS.GPSLongitudeRef: "E" if longitude >= 0 else "W",
        GPS.GPSLongitude: angle(longitude),
    }


def write_photo(path: pathlib.Path, gps: dict | None = None, own: dict | None = None, turn=1):
    """A photo of 16 x 12 pixels with GPS tags, other EXIF tags and an orientation."""
    exif = PIL.Image.Exif()
    exif[Base.Orientation] = turn
    zeros: list[int] = []
    if gps is not None:
        exif[IFD.GPSInfo] = {tag: _writable(value, zeros) for tag, value in gps.items()}
    if own is not None:
        exif[IFD.Exif] = own
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(map(ord, path.name))
    encoded = exif.tobytes()
    for numerator in zeros:
        mark = struct.pack(">LL", 1, PRIME)
        assert mark in encoded
        encoded = encoded.replace(mark, struct.pack(">LL", numerator, 0), 1)
    PIL.Image.fromarray(image(seed)[..., ::-1]).save(path, exif=encoded, quality=95)


def _writable(value, zeros: list[int]):
    """A tag's value with 1 / PRIME in place of each n / 0; `zeros` takes the n."""
    if isinstance(value, tuple):
        return tuple(_writable(part, zeros) for part in value)
    if isinstance(value, IFDRational) and value.denominator == 0:
        zeros.append(value.numerator)
        return IFDRational(1, PRIME)
    return value


def taken(time: str, fraction: str = "", offset: str = "") -> dict:
    """The tags of the camera's clock."""
    tags = {Base.DateTimeOriginal: time}
    if fraction:
        tags[Base.SubsecTimeOriginal] = fraction
    if offset:
        tags[Base.OffsetTimeOriginal] = offset
    return tags
