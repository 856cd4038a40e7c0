"""The sub-commands of `python -m vprjax.localize`: one file each, listed here in the order of `--help`."""

from vprjax.localize.commands import loops, map, query, serve

COMMANDS = {
    "map": map.COMMAND,
    "query": query.COMMAND,
    "loops": loops.COMMAND,
    "serve": serve.COMMAND,
}
