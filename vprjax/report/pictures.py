"""Matplotlib figures and camera images as data URIs with alternative text."""

import base64
import contextlib
import dataclasses
import io
from collections.abc import Iterator

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from vprjax.report import jpeg

# Placeholders that the SVG's own style sheet replaces: it follows the reader's light or dark scheme even
# inside an <img>.
INK, FAINT = "#010203", "#040506"
SCHEME = (
    "<style>:root{--ink:#1f2328;--faint:#d0d7de}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--faint:#3d444d}}</style>"
)
# Distinct in both schemes and for colour-blind readers.
BLUE, ORANGE, GREY, GREEN = "#2f81f7", "#d4671c", "#8b949e", "#2a9d72"
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "vprjax",  # the same figure gives the same file
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.parse_math": False,  # a $ in a name is a $
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image of a page.

    Attributes:
      uri: `data:` URI.
      alt: alternative text, for screen readers and text browsers.
      caption: one line below the image, may be empty.
      width: pixels.
      height: pixels.
    """

    uri: str
    alt: str
    caption: str
    width: int
    height: int


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Context manager: figures made inside have the pages' style."""
    with matplotlib.rc_context(STYLE):
        yield


def new_figure(width: float = 5.2, height: float = 3.3) -> Figure:
    """An empty figure of `width` x `height` inches; call it inside `style()`."""
    return Figure(figsize=(width, height), layout="constrained", dpi=100)


def picture(figure: Figure, alt: str, caption: str = "") -> Picture:
    """The figure as an SVG that follows the light or dark scheme; call it inside `style()`."""
    out = io.StringIO()
    FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = text.replace(INK, "var(--ink)").replace(FAINT, "var(--faint)")
    text = text.replace("'DejaVu Sans'", "'DejaVu Sans',Verdana,sans-serif")
    head = text.index(">") + 1
    width, height = (round(inches * 100) for inches in figure.get_size_inches())
    return Picture(
        _uri("image/svg+xml", (text[:head] + SCHEME + text[head:]).encode()),
        alt,
        caption,
        width,
        height,
    )


def thumbnail(image: np.ndarray, alt: str, caption: str = "", widest: int = 320) -> Picture:
    """A camera image, uint8 `(h, w, 3)` RGB, as JPEG of at most `widest` pixels in width."""
    image = jpeg.narrowed(image, widest)
    uri = _uri("image/jpeg", jpeg.encoded(image, widest))
    return Picture(uri, alt, caption, image.shape[1], image.shape[0])


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
