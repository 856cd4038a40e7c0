"""HTML files from templates: all text is escaped, and every file is written atomically."""

import functools
import pathlib

import jinja2

from vprjax.storage.atomic import write_atomically


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def write(path: pathlib.Path, template: str, **content) -> None:
    """Fills `templates/<template>` with `content` and writes it to `path` atomically."""
    write_atomically(path, _environment().get_template(template).render(**content))
