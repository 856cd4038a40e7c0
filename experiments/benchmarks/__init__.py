"""One file per benchmark: each `add_arguments(parser)` and `measure(args, interleaved, row)`."""
