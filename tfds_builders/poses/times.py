"""Times of texts: whole nanoseconds in a unit that a layout declares, or seconds of a number or date."""

import datetime
import decimal
import math
import re

UNITS = {  # digits of a time since 1970 from 2001 to 2286, and its nanoseconds
    "seconds": (10, 10**9),
    "milliseconds": (13, 10**6),
    "microseconds": (16, 10**3),
    "nanoseconds": (19, 1),
}
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
NUMBER_FORM = "a number"
DATE = "a date with an offset from UTC"
NAIVE = "a date without an offset from UTC"
FAULTS = (  # of a date's clock, where Python gives no reason or, by its version, a time
    (
        re.compile(r"[T ]\d\d(:?\d\d)?[.,]", re.ASCII),
        "has a fraction of an hour or a minute: write its seconds",
    ),
    (
        re.compile(r"[T ]\d\d:?\d\d:?60", re.ASCII),
        "is a leap second, which seconds since 1970 do not count: write second 59",
    ),
    (re.compile(r"[T ]24", re.ASCII), "is of hour 24: write hour 00 of the next day"),
)
NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d{1,2})?", re.ASCII)


def whole(text: str, unit: str) -> int:
    """Nanoseconds since 1970 of a whole number in `unit`.

    Raises:
      ValueError: it is no whole number, or has another unit's count of digits, which the message names.
    """
    digits, nanos = UNITS[unit]
    if not re.fullmatch(r"\d+", text, re.ASCII):
        raise ValueError(f"time {text!r} is no whole number of {unit}")
    _check_digits(text, text, unit, digits)
    return int(text) * nanos


def seconds(text: str, since_1970: bool = True) -> int:
    """Nanoseconds of a decimal number of seconds, exact to the nanosecond.

    Args:
      text: e.g. `1305031098.6659` or `1.706282470098386526e+09`.
      since_1970: whether the count of digits is checked; else the number counts from any start.

    Raises:
      ValueError: it is no number of seconds, or looks like another unit.
    """
    if not NUMBER.fullmatch(text):
        raise ValueError(f"time {text!r} is no number of seconds")
    number = decimal.Decimal(text)
    if since_1970:
        _check_digits(text, str(int(number)), "seconds", UNITS["seconds"][0])
    elif abs(number) >= 10**9:
        raise ValueError(
            f"time {text!r} lies {number:.3g} s after the start; give seconds from the first image on, "
            "not since 1970"
        )
    return int((number * 10**9).to_integral_value())


def moment(text: str) -> int:
    """Nanoseconds since 1970 of `2013-05-28 08:46:02.904626000`, taken as UTC; raises ValueError."""
    clock, _, fraction = text.strip().partition(".")
    try:
        found = datetime.datetime.strptime(clock, "%Y-%m-%d %H:%M:%S").replace(tzinfo=datetime.UTC)
    except ValueError:
        found = None
    if found is None or not re.fullmatch(r"\d{0,9}", fraction, re.ASCII):
        raise ValueError(f"time {text.strip()!r} is no YYYY-MM-DD hh:mm:ss.nnnnnnnnn")
    whole_seconds = (found - EPOCH) // datetime.timedelta(seconds=1)
    return whole_seconds * 10**9 + int(fraction.ljust(9, "0"))


def clock(text: str) -> tuple[float, str]:
    """Seconds of a number, or since 1970 of an ISO date and time, and which of the forms above it has.

    A date without an offset is taken as UTC.

    Raises:
      ValueError: the text is neither.
    """
    try:
        number = float(text)
    except ValueError:
        date = _date(text)
        return utc(date).timestamp(), DATE if date.tzinfo else NAIVE
    if not math.isfinite(number):
        raise ValueError(f"{text!r} is no time")
    return number, NUMBER_FORM


def utc(date: datetime.datetime) -> datetime.datetime:
    """The date itself, in UTC where it has no offset."""
    return date if date.tzinfo else date.replace(tzinfo=datetime.UTC)


def _date(text: str) -> datetime.datetime:
    found = text.strip().upper()
    for form, fault in FAULTS:
        if form.search(found):
            raise ValueError(f"{text!r} {fault}")
    try:
        return datetime.datetime.fromisoformat(found)
    except ValueError as error:
        raise ValueError(f"{text!r} is no date ({error})") from error


def _check_digits(text: str, digits: str, unit: str, wanted: int) -> None:
    """Raises ValueError where the count of digits is not that of `unit`."""
    if len(digits.lstrip("-")) == wanted:
        return
    other = next((name for name, (n, _) in UNITS.items() if n == len(digits)), "of no known unit")
    raise ValueError(
        f"time {text} has {len(digits)} digits ({other}), where {unit} since 1970 have {wanted}"
    )
