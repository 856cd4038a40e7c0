"""The numbers of a places.csv's row: position, heading and time, with what is wrong with each."""

import math
import re

from tfds_builders.frame import FARTHEST, LATEST
from tfds_builders.places_csv import remedies, zones
from tfds_builders.poses import times

METRES, DEGREES = ("x", "y"), ("lat", "lon")
NUMBERS = {  # unit, and the largest of either sign
    "x": ("metres", FARTHEST),
    "y": ("metres", FARTHEST),
    "lat": ("degrees", zones.FARTHEST_NORTH),
    "lon": ("degrees", 180),
    "heading": ("radians", FARTHEST),
    "time": ("seconds", LATEST / 1e6),
}
OR = {"time": " or a date as 2024-02-29T12:00:00Z"}
DATE = re.compile(r"\d{4}-(\d\d-\d\d|[Ww]\d\d-\d)([Tt ]\d)?", re.ASCII)


def coordinate(where, values, key: str, pair: tuple[str, str], problems: list[str]) -> float:
    """A column of the position; NaN where both are unknown, or after a fault is added to `problems`."""
    if all(values[name].lower() in remedies.UNKNOWN for name in pair):
        return math.nan
    if values[key]:
        return _number(where, key, values[key], problems)
    problems.append(
        f"{where}: {key} is empty; give a number in {NUMBERS[key][0]}, or leave {' and '.join(pair)} "
        "empty where a query's position is unknown"
    )
    return math.nan


def optional(where, values, key: str, problems: list[str]) -> float:
    """A column that may be empty; NaN where it is, or after a fault is added to `problems`."""
    text = values.get(key, "")
    return math.nan if text.lower() in remedies.UNKNOWN else _number(where, key, text, problems)


def time(where, values, problems: list[str]) -> tuple[float, str]:
    """Seconds of a number or an ISO date with a clock, and how it is written; NaN where there is none."""
    text = values.get("time", "")
    if DATE.match(text):
        try:
            if DATE.fullmatch(text):
                raise ValueError(f"{text!r} has no time of day")
            seconds, form = times.clock(text)
            if abs(seconds) <= NUMBERS["time"][1]:
                return seconds, form
        except ValueError as error:
            problems.append(f"{where}: time {error}; give a number in seconds{OR['time']}")
            return math.nan, times.NUMBER_FORM
    return optional(where, values, "time", problems), times.NUMBER_FORM


def _number(where, key: str, text: str, problems: list[str]) -> float:
    """A column's number; NaN after a fault is added to `problems`."""
    unit, most = NUMBERS[key]
    try:
        number = float(text)
    except ValueError:
        remedy = remedies.number(text) or f"give a number in {unit}{OR.get(key, '')}"
        if text.lower() in remedies.OTHER_UNKNOWN:
            both = next((pair for pair in (METRES, DEGREES) if key in pair), (key,))
            remedy += f", or leave {' and '.join(both)} empty where it is unknown"
        problems.append(f"{where}: {key} is {text!r}; {remedy}")
        return math.nan
    step = remedies.rounded(text)
    if step and abs(number) <= most:
        problems.append(
            f"{where}: {key} is {text}, rounded to {step:,.0f} {unit}; write all its digits"
        )
        return math.nan
    if abs(number) <= most:
        return number
    if key == "time" and abs(number) < 1e20:
        problems.append(f"{where}: time is {text}; {remedies.clock(number)}")
    elif key == "lat" and 90 < abs(number) <= 180:
        problems.append(
            f"{where}: lat is {text}, beyond 90 degrees; are lat and lon in each other's column?"
        )
    else:  # NaN too
        problems.append(
            f"{where}: {key} is {text}; give a finite number in {unit} up to {most:g}, or remove the row"
        )
    return math.nan
