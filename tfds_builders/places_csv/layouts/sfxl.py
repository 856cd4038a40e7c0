"""SF-XL's crops: `@utm_east@utm_north@...` names whose field 9 is the crop's left edge."""

import pathlib

from tfds_builders.errors import RawDataError
from tfds_builders.frame import Frame
from tfds_builders.places_csv.layouts import utm
from tfds_builders.places_csv.layouts.variant import Layout, Protocol, Told

CROP, PANORAMA = 512, 3328  # pixels across
HALF_A_CROP = 180 * CROP / PANORAMA  # degrees from a crop's left edge to its middle
NAMELESS = r"processed|small|\d+\.\d+"  # train lies in a folder per hundredth of a degree


def read_sfxl(folder: pathlib.Path, told: Told) -> dict[str, list[Frame]]:
    """Reads `train`, `val/database`, `test/queries_v1` and so on, one split each.

    The heading is that of the optical axis: field 9, in degrees clockwise from north, and half a crop.
    Queries from telephones have no heading.

    Raises:
      RawDataError: as `utm.read_utm`, or the panoramas lie beside the crops.
    """
    if (folder / "raw").is_dir():
        raise RawDataError(
            f"{folder}/raw holds SF-XL's panoramas, whose headings mean their middle; give "
            f"--manual_dir={folder}/processed, the crops'"
        )
    return utm.read_utm(folder, told, HALF_A_CROP, NAMELESS)


LAYOUT = Layout(
    title="SF-XL's crops",
    read=read_sfxl,
    position_unit="m",
    pose_source="UTM in the file names; headings turned to the middle of the crops",
    untimed="their file names",
    protocols={
        "sfxl_25m": Protocol(
            positives="a database image within 25 m, whatever its heading",
            queries="all queries of the split, those without such an image too",
            source="CosPlace and the dataset's page",
            radius=25.0,
        )
    },
)
