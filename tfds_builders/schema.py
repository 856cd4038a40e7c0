"""The one feature schema of all builders, and the config of the stored image size.

A record holds:

  image: encoded bytes.
  image_id: text.
  position: float64 `(2,)`, easting/x and northing/y in metres, NaN where unknown.
  heading: float64, radians, NaN where unknown.
  timestamp: int64, microseconds or frame order.
  label: text, may be empty.

A split is a sequence; its records keep time order.
"""

import dataclasses
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders.errors import RawDataError
from tfds_builders.frame import Frame

IMAGE_FORMATS = ("", "png", "jpeg", "webp")
RESIZES = ("stretch", "pad", "crop", "shorter_side")
KERNELS = ("opencv", "bilinear", "bicubic")


@dataclasses.dataclass
class PlacesConfig(tfds.core.BuilderConfig):
    """Size and format of the stored images.

    Attributes:
      height: stored height in pixels; 0 (with width 0) keeps the raw size.
      width: stored width in pixels.
      image_format: "png", "jpeg" or "webp"; "" keeps each image's own format (PNG for any other).
      quality: JPEG and WebP quality, 1 to 100.
      resize: how an image of another aspect reaches the size: "stretch"; "pad" with black; "crop" its
        centre; "shorter_side", which becomes the smaller of height and width while the aspect stays.
      sixteen_bit: how 16-bit images become 8-bit ones: "raw/256"; "LOW-HIGH", two values that become 0 and
        255; "percentiles" of the dataset's values; "" is raw/256 and refuses too few grey levels.
      kernel: of the resize: "opencv" averages areas to shrink and is linear to enlarge; "bilinear" and
        "bicubic" are Pillow's, with antialias, which released models were trained on.
    """

    height: int = 0
    width: int = 0
    image_format: str = ""
    quality: int = 92
    resize: str = "stretch"
    sixteen_bit: str = ""
    kernel: str = "opencv"

    def check(self) -> None:
        """Raises RawDataError where a value cannot be used."""
        problems = []
        for key in ("height", "width", "quality"):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                problems.append(
                    f"config key {key!r} is {value!r}; give a whole number of 0 or more"
                )
        if not problems and (self.height == 0) != (self.width == 0):
            problems.append(
                f"config has height {self.height} and width {self.width}; "
                "give both, or neither to keep the raw size"
            )
        if not problems and not 1 <= self.quality <= 100:
            problems.append(f"config key 'quality' is {self.quality}; give 1 to 100")
        if self.image_format not in IMAGE_FORMATS:
            known = ", ".join(repr(name) for name in IMAGE_FORMATS)
            problems.append(f"config key 'image_format' is {self.image_format!r}; known: {known}")
        if self.resize not in RESIZES:
            problems.append(f"config key 'resize' is {self.resize!r}; known: {', '.join(RESIZES)}")
        elif self.resize != "stretch" and self.height == 0:
            problems.append(f"config key 'resize' is {self.resize!r}; give height and width too")
        if self.kernel not in KERNELS:
            problems.append(f"config key 'kernel' is {self.kernel!r}; known: {', '.join(KERNELS)}")
        if not self._converts():
            problems.append(
                f"config key 'sixteen_bit' is {self.sixteen_bit!r}; give 'percentiles', 'raw/256' or two "
                "rising values up to 65535 such as '7000-8200'"
            )
        if problems:
            raise RawDataError(*problems)

    def _converts(self) -> bool:
        """Whether `sixteen_bit` is a known conversion."""
        low, mark, high = str(self.sixteen_bit).partition("-")
        if mark and low.isdecimal() and high.isdecimal() and len(high) < 6 and low.isascii():
            return high.isascii() and int(low) < int(high) < 2**16
        return self.sixteen_bit in ("", "percentiles", "raw/256")


def features(height: int = 0, width: int = 0) -> tfds.features.FeaturesDict:
    """The schema, with a fixed image shape where the config names a size.

    Bytes store doubles: tf.Example has only float32, which moves a UTM northing by up to 0.25 m.
    """
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(height or None, width or None, 3)),
            "image_id": tfds.features.Text(),
            "position": tfds.features.Tensor(shape=(2,), dtype=np.float64, encoding="bytes"),
            "heading": tfds.features.Tensor(shape=(), dtype=np.float64, encoding="bytes"),
            "timestamp": tfds.features.Scalar(dtype=np.int64),
            "label": tfds.features.Text(),
        }
    )


def record(frame: Frame, image: bytes) -> dict[str, Any]:
    """One record of the schema from a frame and its encoded image."""
    return {
        "image": image,
        "image_id": frame.image_id,
        "position": np.asarray(frame.position, np.float64),
        "heading": np.float64(frame.heading),
        "timestamp": np.int64(frame.timestamp),
        "label": frame.label,
    }
