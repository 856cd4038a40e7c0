"""HTML files from templates: all text is escaped, and every file is written atomically."""

import functools
import pathlib

import jinja2

from vprjax.storage.atomic import write_atomically

OWN = pathlib.Path(__file__).parent


@functools.cache
def _environment(room: pathlib.Path) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([room / "templates", OWN / "templates"]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def text(template: str, room: pathlib.Path = OWN, **content) -> str:
    """Fills `<room>/templates/<template>`, or report's own of that name, with `content`."""
    return _environment(room).get_template(template).render(**content)


def write(path: pathlib.Path, template: str, room: pathlib.Path = OWN, **content) -> None:
    """Writes what `text` gives to `path` atomically."""
    write_atomically(path, text(template, room, **content))
