"""The sub-commands of `python -m vprjax.localize`: one file each, listed here in the order of `--help`."""

from vprjax.localize.commands import calibrate, loops, map, query, serve

COMMANDS = {
    "map": map.COMMAND,
    "query": query.COMMAND,
    "calibrate": calibrate.COMMAND,
    "loops": loops.COMMAND,
    "serve": serve.COMMAND,
}
