"""Where a dataset may be that is not where a config looks for it."""

import os
import pathlib

NAME = "dataset.name"  # the key whose value a sentence tells


def names(root: pathlib.Path, builder: str, name: str) -> list[str]:
    """The config's values, `KEY=VALUE`, that name a built dataset like `builder/name`.

    Its builder may be left out of the name, or the folder of datasets may be one too deep or too high.
    """
    last = name or builder
    others = sorted(path for path in root.glob(f"*/{last}") if not name and os.path.isdir(path))
    found = [f"{NAME}={path.relative_to(root).as_posix()}" for path in others]
    roots = (root.parent, *sorted(path for path in root.glob("*") if os.path.isdir(path)))
    return found + [
        f"dataset.data_dir={other}"
        for other in roots
        if name and os.path.isdir(other / builder / name)
    ]
