"""RobotCar's cameras: Bayer patterns, demosaicing, undistortion by the SDK's lookup tables."""

import pathlib
from typing import NamedTuple

import cv2
import numpy as np

from tfds_builders.errors import RawDataError

# OpenCV names a pattern by the second and third pixel of its second row.
BAYER = {
    "rggb": cv2.COLOR_BayerBG2BGR,
    "bggr": cv2.COLOR_BayerRG2BGR,
    "gbrg": cv2.COLOR_BayerGR2BGR,
    "grbg": cv2.COLOR_BayerGB2BGR,
}


class Camera(NamedTuple):
    """One camera: folder of its images, timestamps file, Bayer pattern."""

    folder: str
    timestamps: str
    pattern: str


CAMERAS = {
    **{
        name: Camera(name, f"{name}.timestamps", "rggb")
        for name in ("mono_left", "mono_right", "mono_rear")
    },
    **{
        f"stereo_{side}": Camera(f"stereo/{side}", "stereo.timestamps", "gbrg")
        for side in ("left", "centre", "right")
    },
}


def camera(name: str) -> Camera:
    """The camera of a name; raises RawDataError with the known names."""
    if name not in CAMERAS:
        raise RawDataError(f"config key 'camera' is {name!r}; known: {', '.join(CAMERAS)}")
    return CAMERAS[name]


def demosaic(raw: np.ndarray, pattern: str, where: str) -> np.ndarray:
    """Turns one-channel Bayer uint8 `(h, w)` into BGR `(h, w, 3)`, bilinear; raises RawDataError."""
    if raw.ndim != 2 or raw.dtype != np.uint8:
        raise RawDataError(
            f"{where} is no 8-bit one-channel Bayer image (shape {raw.shape}, {raw.dtype}); "
            "use the images as downloaded"
        )
    return cv2.cvtColor(raw, BAYER[pattern])


def read_lut(path: str, height: int, width: int) -> np.ndarray:
    """The undistortion table, float32 `(2, h, w)`: every pixel's column and row in the raw image.

    The file is the SDK's `models/*_distortion_lut.bin`: `2 w h` raw float64 values, columns first.

    Raises:
      RawDataError: the file is unreadable, of another size or holds no pixel positions.
    """
    try:
        values = np.fromfile(path, np.float64)
    except OSError as error:
        raise RawDataError(
            f"config key 'undistort': {path} cannot be read ({error.strerror}); give the camera's "
            "*_distortion_lut.bin of the SDK's models folder"
        ) from error
    if values.size != 2 * height * width:
        raise RawDataError(
            f"config key 'undistort': {path} holds {values.size} values where images of {height}x{width} "
            f"(height x width) need {2 * height * width}; give this camera's *_distortion_lut.bin"
        )
    if not (np.abs(values) < 2**31).all():  # NaN neither
        raise RawDataError(
            f"config key 'undistort': {path} holds values that are no pixel positions; give this "
            "camera's *_distortion_lut.bin"
        )
    return values.reshape(2, height, width).astype(np.float32)


def undistort(image: np.ndarray, lut: np.ndarray) -> np.ndarray:
    """Undistorts an image by a table, bilinear; pixels from outside the raw image are black.

    Fixed-point maps (1/32 of a pixel) give the same pixels in OpenCV 4 and 5; float maps do not.
    """
    places, parts = cv2.convertMaps(lut[0], lut[1], cv2.CV_16SC2)
    return cv2.remap(
        image, places, parts, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0
    )


def check_lut_path(path: str) -> None:
    """Raises RawDataError where the table's file is missing."""
    if path and not pathlib.Path(path).expanduser().is_file():
        raise RawDataError(
            f"config key 'undistort': {path} does not exist; give the camera's *_distortion_lut.bin "
            "of the SDK's models folder, or leave it empty"
        )
