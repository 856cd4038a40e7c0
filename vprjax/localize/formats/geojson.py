"""GeoJSON (RFC 7946): a point per picture, longitude and latitude in WGS84, null where unknown."""

import json
from collections.abc import Sequence

from vprjax.errors import DataError
from vprjax.localize import degrees
from vprjax.localize.answer import Answer
from vprjax.localize.formats import json_list
from vprjax.localize.formats.variant import Format
from vprjax.localize.inputs import Asked

START = '{"type": "FeatureCollection", "features": [\n'


def _check(places) -> None:
    if not places.crs:
        raise DataError(
            f"{places.folder} does not know what its positions are coordinates of, and GeoJSON needs "
            "longitude and latitude; write .csv or .json, or build the map from photos with GPS, lat/lon "
            "columns or UTM names"
        )
    try:
        degrees.change(places.crs)
    except DataError as error:
        raise DataError(f"{places.folder}: {error}; write .csv or .json") from error


def _text(places, answers: Sequence[tuple[Asked, Answer]]) -> str:
    change = degrees.change(places.crs)
    features = [json.dumps(_feature(places, change, *one), ensure_ascii=False) for one in answers]
    return START + ",\n".join(features) + "\n]}\n"


def _feature(places, change, asked: Asked, answer: Answer) -> dict:
    """The first place as a point; none where the picture counts as not located."""
    geometry, (place,) = None, change(answer.positions[:1])
    if place and answer.located is not False:
        geometry = {"type": "Point", "coordinates": place[::-1]}
    properties = json_list.values(places, asked, answer)
    return {"type": "Feature", "geometry": geometry, "properties": properties}


FORMAT = Format("GeoJSON", START + '{"type": "Feature", "geometry": ', _text, _check)
