"""The formats of answers: one file each, listed here by the suffix of `--out`."""

from vprjax.localize.formats import geojson, json_list, table

FORMATS = {".csv": table.FORMAT, ".json": json_list.FORMAT, ".geojson": geojson.FORMAT}
