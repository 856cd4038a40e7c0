"""`python -m vprjax.localize serve`: answers photos over HTTP, with one page."""

import argparse
import os

from vprjax.localize.commands.variant import Command


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--map", required=True, metavar="FOLDER", help="the map's folder")
    parser.add_argument("--model", help="the map's model, where it is no longer at its old path")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (127.0.0.1, this machine alone); another one needs a token",
    )
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (8000)")
    parser.add_argument(
        "--token",
        default=os.environ.get("VPRJAX_TOKEN", ""),
        help="secret that requests must bear; $VPRJAX_TOKEN keeps it out of the list of processes",
    )


def _run(args: argparse.Namespace) -> None:
    from vprjax.console import log
    from vprjax.localize import answer, serve

    serve.check_address(args.host, args.token)
    with serve.listen(args.host, args.port) as listener:
        from vprjax.localize.load import load
        from vprjax.localize.map import Map

        places = Map.open(args.map)
        if args.model:
            places = Map.open(args.map, load(args.model, tuple(places.header["model"]["size"])))
        for words in answer.doubts(places.calibration, places.frames.positions):
            log(words)
        serve.serve(places, listener, args.token)


COMMAND = Command(
    "answer photos over HTTP: one page for a browser, JSON for programs",
    "python -m vprjax.localize serve --map=maps/monday --port=8000\n"
    "  curl --data-binary @today.jpg 'http://127.0.0.1:8000/query?k=5'",
    _arguments,
    _run,
)
