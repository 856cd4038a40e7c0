"""GeoJSON (RFC 7946): a point per picture, longitude and latitude in WGS84, null where unknown."""

import json
from collections.abc import Sequence

import numpy as np
import pyproj

from vprjax.errors import DataError
from vprjax.localize.answer import Answer
from vprjax.localize.formats import json_list
from vprjax.localize.formats.variant import Format
from vprjax.localize.inputs import Asked

START = '{"type": "FeatureCollection", "features": [\n'
DIGITS = 8  # of a degree: a millimetre


def _check(places) -> None:
    if not places.crs:
        raise DataError(
            f"{places.folder} does not know what its positions are coordinates of, and GeoJSON needs "
            "longitude and latitude; write .csv or .json, or build the map from photos with GPS, lat/lon "
            "columns or UTM names"
        )
    try:
        _to_degrees(places)
    except pyproj.exceptions.ProjError as error:
        raise DataError(
            f"{places.folder}: no way from {places.crs} to WGS84 ({error}); write .csv or .json"
        ) from error


def _to_degrees(places) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(places.crs, "EPSG:4326", always_xy=True)


def _text(places, answers: Sequence[tuple[Asked, Answer]]) -> str:
    change = _to_degrees(places)
    features = [json.dumps(_feature(places, change, *one), ensure_ascii=False) for one in answers]
    return START + ",\n".join(features) + "\n]}\n"


def _feature(places, change: pyproj.Transformer, asked: Asked, answer: Answer) -> dict:
    """The first place as a point; none where the picture counts as not located."""
    geometry, (x, y) = None, answer.positions[0]
    degrees = [round(value, DIGITS) for value in change.transform(x, y)]
    if np.isfinite(degrees).all() and answer.located is not False:  # NaN, or beyond the projection
        geometry = {"type": "Point", "coordinates": degrees}
    properties = json_list.values(places, asked, answer)
    return {"type": "Feature", "geometry": geometry, "properties": properties}


FORMAT = Format("GeoJSON", START + '{"type": "Feature", "geometry": ', _text, _check)
