"""Dataset layouts: one file each, listed here by the name that the config key `layout` takes."""

from tfds_builders.places_csv.layouts import (
    aligned,
    boreas,
    dbstruct,
    fourseasons,
    gsv_cities,
    kitti360,
    kitti_odometry,
    msls,
    nordland,
    photos,
    sfxl,
    st_lucia,
    table,
    tokyo247,
    utm,
    vpr_bench,
)
from tfds_builders.places_csv.layouts.variant import Layout

LAYOUTS: dict[str, Layout] = {
    "csv": table.LAYOUT,
    "utm": utm.LAYOUT,
    "aligned": aligned.LAYOUT,
    "dbstruct": dbstruct.LAYOUT,
    "photos": photos.LAYOUT,
    "gsv_cities": gsv_cities.LAYOUT,
    "msls": msls.LAYOUT,
    "sfxl": sfxl.LAYOUT,
    "nordland": nordland.LAYOUT,
    "st_lucia": st_lucia.LAYOUT,
    "tokyo247": tokyo247.LAYOUT,
    "vpr_bench": vpr_bench.LAYOUT,
    "boreas": boreas.LAYOUT,
    "4seasons": fourseasons.LAYOUT,
    "kitti_odometry": kitti_odometry.LAYOUT,
    "kitti360": kitti360.LAYOUT,
}
