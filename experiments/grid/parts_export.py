"""Exports a backbone and its heads as files of their own; compares each pair with its model on pictures.

`experiments/exports.py --parts` runs it per backbone, with the job and the rows of `one_export.py`. A
process without vprjax computes the backbone's map of the pictures and, from the map, each head's
descriptors. Heads of equal maps and class tokens share their files, in `heads-MAP-TOKEN` beside the folder.
"""

import functools
import json
import logging
import pathlib
import resource
import subprocess
import sys
from collections.abc import Callable

import jax
import numpy as np
from analysis.export_table import JOB, ROWS, WHOLE, Row
from flax import linen as nn
from jax import export

from grid import one_export
from grid.one_export import READER
from vprjax import models
from vprjax.data.pictures import Form, Pictures
from vprjax.export import check, onnx, onnx_graph, stablehlo
from vprjax.localize.exported import INPUT, OUTPUT
from vprjax.models.backbones import BACKBONES
from vprjax.models.backbones.layers import fold_norm
from vprjax.models.heads import HEADS
from vprjax.report.provenance import code_version

Size = tuple[int, int]
MAP, TOKEN = "map", "token"  # a backbone's results
SUFFIXES = {"onnx": ".onnx", "stablehlo": ".stablehlo"}
ONE_SIZE = ".one"  # in the name of a head's file that takes one size of map alone


def part(config, variables: dict, method: str, build: Callable = models.build) -> Callable:
    """A method of the model as a function of arrays, with the variables as its constants."""
    module, constants = build(config), jax.tree.map(np.asarray, variables)

    def run(*inputs):
        with nn.intercept_methods(fold_norm):
            return module.apply(constants, *inputs, method=method)

    return run


def write(name: str, run: Callable, shapes: dict, outputs: list[str], file: pathlib.Path) -> None:
    """Writes a function of arrays as a file of the format `name`."""
    if name == "stablehlo":
        file.write_bytes(stablehlo.convert(run, *shapes.values()))
        return
    graph = onnx.convert(run, shapes, outputs)
    if outputs == [OUTPUT] and not graph.graph.output[0].type.tensor_type.shape.dim[-1].dim_value:
        raise ValueError("the descriptor's length depends on the sides")
    if INPUT in shapes and not isinstance(shapes[INPUT].shape[1], int):
        onnx_graph.free_sides(graph)
    file.write_bytes(graph.SerializeToString())


def specs(name: str, like: dict[str, np.ndarray], free: bool) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of arguments that are like these arrays, in any number and, if `free`, with any sides."""
    least = ["h >= 32", "w >= 32"] if free and INPUT in like and name != "onnx" else []
    out, scope = {}, export.SymbolicScope(least)
    sides = "32*h, 32*w" if name == "onnx" and INPUT in like else "h, w"
    for key, value in like.items():
        middle = sides if free and value.ndim == 4 else ", ".join(map(str, value.shape[1:-1]))
        text = ", ".join(filter(None, ("b", middle, str(value.shape[-1]))))
        shape = export.symbolic_shape(text, scope=scope)
        out[key] = jax.ShapeDtypeStruct(shape, value.dtype)
    return out


def write_free(name: str, run: Callable, like: dict, outputs: list[str], file: pathlib.Path):
    """Writes for any size where the function allows it: whether it does, and why not."""
    try:
        write(name, run, specs(name, like, True), outputs, file)
        return True, ""
    except Exception as error:  # a converter raises anything
        reason = f"one size alone ({type(error).__name__})"
    write(name, run, specs(name, like, False), outputs, file)
    return False, reason


class Parts:
    """A backbone with its values, and the maps that the model in memory finds in the pictures."""

    def __init__(self, job: dict):
        """Draws the values and computes the maps."""
        self.job, self.size = job, tuple(job["size"])
        self.asked = {
            size: Pictures(job["pictures"], Form(*size)).images(range(len(job["pictures"])))
            for size in (tuple(map(sum, zip(self.size, more, strict=True))) for more in check.FREE)
        }
        self.start = one_export.start_of(job, self.asked[self.size])
        self.token = BACKBONES[job["backbone"]].class_token
        self.names = [MAP, TOKEN][: 1 + self.token]
        self.config = one_export.config_of(job, "class_token" if self.token else "gem")

    @functools.cached_property
    def maps(self) -> dict[Size, tuple[np.ndarray, ...]]:
        """What the stock operations find at each size."""
        return self._maps(models.build)

    @functools.cached_property
    def others(self) -> dict[Size, tuple[np.ndarray, ...]]:
        """What the operations for CPUs find."""
        return self._maps(models.build_for_cpu)

    def _maps(self, build: Callable) -> dict[Size, tuple[np.ndarray, ...]]:
        apply = jax.jit(functools.partial(build(self.config).apply, method="with_token"))
        out = {}
        for size, images in self.asked.items():
            starts = range(0, len(images), check.BATCH)
            found = [apply(self.start, images[i : i + check.BATCH]) for i in starts]
            out[size] = tuple(np.concatenate(one) for one in zip(*found, strict=True))
        return out

    def head(self, name: str) -> tuple:
        """The config and the values of a head on this backbone, and how many of `names` it takes."""
        model = one_export.model_of(self.job, name, self.start, self.size)
        kept = {key: value for key, value in model.engine.variables.items() if key == "preprocess"}
        pooling = model.engine.variables["params"].get("pooling", {})
        config = model.engine.config
        token = HEADS[name].class_token(config.get(name))
        return config, {**kept, "params": {"pooling": pooling}}, 1 + token


def rows_of(parts: Parts, name: str, folder: pathlib.Path):
    """Yields the rows of one format."""
    file = folder / f"backbone{SUFFIXES[name]}"
    build = functools.partial(
        models.build, max_pool=onnx.max_pool if name == "onnx" else nn.max_pool
    )
    run = part(parts.config, parts.start, "with_token", build)
    free, note = write_free(name, run, {INPUT: parts.asked[parts.size][:1]}, parts.names, file)
    sizes = [*parts.asked] if free else [parts.size]
    files, notes = _head_files(parts, name, folder.parent)
    found, foreign = _computed(parts, file, sizes, files.values())
    for head in parts.job["heads"]:
        facts = {"exported": "nan", "own": "0", "sizes": "", "mib": "0"}
        facts |= {"note": notes.get(head, ""), "foreign": foreign}
        if head in files and f"{files[head].stem}/{_key(parts.size)}" not in found:
            facts["note"] = f"{files[head].name} does not run"
        elif head in files:
            facts |= _facts(parts, head, files[head], sizes, found)
            facts["note"] = note or facts["note"]
            mib = (file.stat().st_size + files[head].stat().st_size) / 2**20
            facts["mib"] = str(round(mib, 1))
        yield _row(parts.job, head, name, facts)
    file.unlink()


def _head_files(parts: Parts, name: str, folder: pathlib.Path) -> tuple[dict, dict]:
    """The heads' files by head, and why others have none."""
    shapes = ["x".join(map(str, part.shape[1:])) for part in parts.maps[parts.size]]
    shared = folder / "-".join(["heads", *shapes])
    shared.mkdir(exist_ok=True)
    files, notes = {}, {}
    for head in parts.job["heads"]:
        try:
            files[head] = _head_file(parts, head, name, shared)
        except Exception as error:  # of any library: its row tells it
            notes[head] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return files, notes


def _computed(parts: Parts, file: pathlib.Path, sizes, heads) -> tuple[dict, str]:
    """Descriptors by head's file and size, from a process without vprjax, and its foreign packages."""
    given, out = file.with_name("given.npz"), file.with_name("found.npz")
    np.savez(given, **{_key(size): parts.asked[size] for size in sizes})
    command = [sys.executable, "-I", READER, file, given, out, *heads]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    with np.load(out) as found:
        return {name: found[name] for name in found.files}, done.stdout.strip()


def _key(size: Size) -> str:
    return "{}x{}".format(*size)


def _head_file(parts: Parts, head: str, name: str, shared: pathlib.Path) -> pathlib.Path:
    """The head's file, written where no other backbone has."""
    for end in ("", ONE_SIZE):
        if (made := shared / f"{head}{end}{SUFFIXES[name]}").exists():
            return made
    config, variables, count = parts.head(head)
    like = dict(zip(parts.names, parts.maps[parts.size][:count], strict=False))
    partial = shared / f".partial{SUFFIXES[name]}"
    free, _ = write_free(name, part(config, variables, "pooled"), like, [OUTPUT], partial)
    made = shared / f"{head}{'' if free else ONE_SIZE}{SUFFIXES[name]}"
    partial.replace(made)
    return made


def _facts(parts: Parts, head: str, file: pathlib.Path, sizes: list[Size], found) -> dict:
    """The differences at the sizes that the file takes."""
    one = ONE_SIZE in file.name
    sizes = sizes[:1] if one else sizes
    config, variables, count = parts.head(head)
    pooled = jax.jit(functools.partial(models.build(config).apply, method="pooled"))

    def wanted(maps, size):
        return np.asarray(pooled(variables, *maps[size][:count]))

    ours = {size: wanted(parts.maps, size) for size in sizes}
    worst = max(check.largest(found[f"{file.stem}/{_key(size)}"], ours[size]) for size in sizes)
    own = 0.0
    if not worst <= check.MOST:
        own = max(check.largest(wanted(parts.others, size), ours[size]) for size in sizes)
    return {
        "exported": f"{worst:.2e}",
        "own": f"{own:.2e}",
        "sizes": " ".join(map(_key, sizes)),
        "note": "one size alone" if one else "",
    }


def _row(job: dict, head: str, name: str, facts: dict) -> Row:
    facts = {"images": len(job["pictures"]), "packages": one_export.packages(), **facts}
    facts |= {"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10, "files": 2}
    facts |= {"backbone": job["backbone"], "head": head, "format": name}
    facts |= {"stage": job["stage"] or WHOLE, "code_version": code_version()}
    return Row(**{key: str(value) for key, value in facts.items()})


def main() -> None:
    """Runs the job of a folder."""
    folder = pathlib.Path(sys.argv[1])
    parts = Parts(json.loads((folder / JOB).read_text()))
    for name in one_export.FORMATS:
        for row in rows_of(parts, name, folder):
            with (folder / ROWS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row._asdict()) + "\n")
            print(*row.key, row.exported, row.own, row.sizes, row.note, file=sys.stderr, flush=True)


if __name__ == "__main__":
    for library in ("absl", "onnx_ir"):  # hides their own lines
        logging.getLogger(library).setLevel(logging.ERROR)
    main()
