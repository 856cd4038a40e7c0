"""Light and weather of a drive."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Condition:
    """Light and weather of one lap.

    Attributes:
      sky: BGR at the horizon and at the top.
      ambient: light that reaches every surface, per BGR channel.
      sun: strength of direct light; 0 is none.
      azimuth: of the sun, radians, 0 is east.
      elevation: of the sun, radians.
      haze: share of sky colour mixed in per 100 m.
      lamps: strength of street lamps, headlights and lit windows.
      rain: strength of wet reflections, streaks and blur.
      grey: share of colour taken away.
      noise: standard deviation of sensor noise, grey levels.
    """

    sky: tuple = ((225, 215, 205), (205, 190, 175))
    ambient: tuple = (0.92, 0.90, 0.88)
    sun: float = 0.0
    azimuth: float = 0.0
    elevation: float = 0.8
    haze: float = 0.25
    lamps: float = 0.0
    rain: float = 0.0
    grey: float = 0.0
    noise: float = 2.0


CONDITIONS = {
    "cloudy": Condition(),
    "sunny": Condition(
        sky=((245, 225, 190), (220, 160, 95)),
        ambient=(0.72, 0.64, 0.58),
        sun=0.62,
        azimuth=0.7,
        elevation=0.75,
        haze=0.1,
    ),
    "low_sun": Condition(
        sky=((170, 210, 245), (200, 165, 120)),
        ambient=(0.55, 0.52, 0.52),
        sun=0.7,
        azimuth=3.4,
        elevation=0.45,
        haze=0.2,
    ),
    "blue_hour": Condition(
        sky=((120, 80, 60), (95, 55, 35)),
        ambient=(0.40, 0.30, 0.25),
        haze=0.2,
        lamps=0.7,
        grey=0.1,
        noise=4.0,
    ),
    "rain_dusk": Condition(
        sky=((120, 108, 100), (90, 82, 76)),
        ambient=(0.46, 0.41, 0.38),
        haze=0.6,
        lamps=0.5,
        rain=1.0,
        grey=0.45,
        noise=5.0,
    ),
    "night": Condition(
        sky=((34, 26, 22), (18, 12, 8)),
        ambient=(0.15, 0.12, 0.11),
        haze=0.1,
        lamps=1.0,
        grey=0.2,
        noise=7.0,
    ),
}


def sun_direction(condition: Condition) -> np.ndarray:
    """Unit vector `(3,)` from the ground to the sun."""
    flat = np.cos(condition.elevation)
    return np.array(
        [
            flat * np.cos(condition.azimuth),
            flat * np.sin(condition.azimuth),
            np.sin(condition.elevation),
        ]
    )
