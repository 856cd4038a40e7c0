"""A map's route as the path of an SVG."""

import numpy as np

DOTS = 4000  # places of a map that are drawn at most
WIDTH, LOWEST, HIGHEST, MARGIN = 1000, 160, 620, 24  # of the drawing, in its own units


def dots(positions: np.ndarray) -> np.ndarray:
    """The known ones of `positions` `(n, 2)`, evenly thinned to `DOTS` at most."""
    known = positions[np.isfinite(positions).all(axis=1)]
    return known[:: max(1, -(-len(known) // DOTS))]


class Drawing:
    """A map's route in the units of an SVG, north up.

    Attributes:
      width: of the drawing.
      height: of the drawing.
      route: the path of its dots; "" where no position is known.
      extent: what it spans, in words.
    """

    def __init__(self, positions: np.ndarray, unit: str):
        """Fits the known ones of `positions` `(n, 2)` into the drawing."""
        known = positions[np.isfinite(positions).all(axis=1)]
        self.width, self.height, self.route, self.extent = WIDTH, LOWEST, "", ""
        if not len(known):
            return
        low, span = known.min(axis=0), np.ptp(known, axis=0)
        inner = WIDTH - 2 * MARGIN
        wanted = inner * span[1] / span[0] if span[0] > 0 else HIGHEST
        self.height = round(min(max(wanted + 2 * MARGIN, LOWEST), HIGHEST))
        room = np.array([inner, self.height - 2 * MARGIN])
        ratios = room[span > 0] / span[span > 0]
        self._scale = ratios.min() if len(ratios) else 1.0
        self._middle = low + span / 2
        self.route = "".join(f"M{self.spot(one)}h0" for one in dots(known))
        self.extent = (
            f"{span[0]:,.0f} {unit} from west to east, {span[1]:,.0f} {unit} from south to north."
        )

    def spot(self, position: np.ndarray) -> str:
        """Where a position lies in the drawing, `x y`; "" where it is unknown."""
        if not np.isfinite(position).all():
            return ""
        x, y = (position - self._middle) * self._scale
        return f"{self.width / 2 + x:.1f} {self.height / 2 - y:.1f}"
