"""JSON: a list with one object per picture, null for what is unknown."""

import json
from collections.abc import Sequence

from vprjax.localize.answer import Answer
from vprjax.localize.formats.variant import Format, known, shortest
from vprjax.localize.inputs import Asked


def values(places, asked: Asked, answer: Answer) -> dict:
    """One picture's object."""
    frames = places.frames
    return {
        "image": asked.name,
        "time": asked.time,
        "located": answer.located,
        "confidence": round(answer.confidence, 6),
        "rule": answer.rule,
        "queries": answer.queries,
        "matches": [
            {
                "image": str(frames.image_ids[number]),
                "x": known(frames.positions[number, 0]),
                "y": known(frames.positions[number, 1]),
                "altitude": known(frames.altitudes[number]),
                "heading": known(frames.headings[number]),
                "distance": shortest(distance),
            }
            for number, distance in zip(answer.numbers, answer.distances, strict=True)
        ],
    }


def _text(places, answers: Sequence[tuple[Asked, Answer]]) -> str:
    rows = [json.dumps(values(places, *one), ensure_ascii=False) for one in answers]
    return "[\n" + ",\n".join(rows) + "\n]\n"


FORMAT = Format("JSON", '[\n{"image": ', _text)
