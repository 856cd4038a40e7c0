"""The command line: `python -m vprjax.main --config=configs/synthetic.py --workdir=runs/synthetic`."""

import atexit
import errno
import os
import pathlib
import re
import sys
import time

from absl import app, flags, logging
from ml_collections import config_flags

from vprjax.errors import ConfigError, Preempted, VprjaxError
from vprjax.runtime import huge_pages, lost

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file(
    "config", None, "Config file, e.g. configs/robotcar.py:resnet50,gem,arcface."
)
flags.DEFINE_string("workdir", None, "Folder for checkpoints, metrics and results.")
flags.DEFINE_enum(
    "mode",
    "train_and_evaluate",
    ["train_and_evaluate", "evaluate"],
    "train_and_evaluate trains (or resumes), then evaluates; evaluate needs --checkpoint, or "
    "--config with model.weights to evaluate them as they are.",
)
flags.DEFINE_string(
    "checkpoint",
    None,
    "With --mode=evaluate: workdir of a trained run. With --config, the dataset and eval "
    "sections come from that config, so that another dataset tests the model.",
)
flags.DEFINE_string(
    "hosts",
    os.environ.get("VPRJAX_HOSTS", ""),
    "Hosts of a run of several processes: a comma list with one entry per process. The first entry, name "
    "or name:port, is the coordinator. Each process uses all devices of its host. "
    '"auto" asks the cluster (a Cloud TPU pod). SLURM, Open MPI 4 and GKE need no --hosts.',
)
flags.DEFINE_integer(
    "process_id",
    int(os.environ["VPRJAX_PROCESS_ID"]) if "VPRJAX_PROCESS_ID" in os.environ else None,
    "Number of this process in --hosts; by default the host's name finds it.",
)


def main(argv: list[str]) -> None:
    """Runs the mode; mistakes that the user can mend end in one sentence and exit status 2.

    A run that SIGTERM ends saves its state and exits with 0.
    """
    last: list[str] = []
    joined = False
    atexit.register(_end, last)  # before JAX's, so that it runs after them
    try:
        if len(argv) > 1:
            raise ConfigError(f"unexpected argument {argv[1]!r}; flags start with --")
        if not FLAGS.workdir:
            raise ConfigError("--workdir is missing: name the folder for checkpoints and results")
        for name in ("workdir", "checkpoint"):
            if "://" in (FLAGS[name].value or ""):
                raise ConfigError(
                    f"--{name}={FLAGS[name].value} must be a folder: mount the bucket and name it there"
                )
        logging.set_verbosity(logging.ERROR)  # hides the libraries' own lines
        from vprjax import run
        from vprjax.runtime import (
            distributed,  # after the flags are parsed, so that --help is quick
        )

        joined = distributed.start(FLAGS.hosts, FLAGS.process_id)
        workdir = pathlib.Path(FLAGS.workdir).expanduser().absolute()
        if FLAGS.mode == "evaluate":
            run.evaluate_checkpoint(FLAGS.checkpoint, FLAGS.config, workdir)
        else:
            run.train_and_evaluate(FLAGS.config, workdir)
    except Preempted as stopped:
        print(f"vprjax: {stopped}", file=sys.stderr)
    except (VprjaxError, OSError) as error:  # an OSError comes from a full or unwritable disk
        last.append(f"vprjax: error: {_advised(error)}\n")
        if joined:
            _end(last, 2)  # JAX's ending waits for the other processes, which wait for this one
        sys.exit(2)
    except Exception as error:
        sentence = joined and lost.sentence(error)
        if not sentence:
            raise
        last.append(f"vprjax: error: {sentence}\n")
        _end(last)


def _end(last: list[str], seconds: float = 0) -> None:
    """Prints the last line, if any, and ends: on a full disk orbax's threads would go on printing.

    The end comes `seconds` later, as the first process's end cuts off others with the same line.
    """
    if last:
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(sys.stderr.fileno(), last[0].encode())
        time.sleep(seconds)
        os._exit(2)


def _advised(error: Exception) -> str:
    """Returns the error's message and, for a full disk, what to do."""
    if not isinstance(error, OSError) or error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return str(error)
    file = error.filename or f"a file of --workdir={FLAGS.workdir}"
    return (
        f"{file} cannot be written ({error.strerror}): free disk space and run the same command again to "
        "go on"
    )


def parse_flags(argv: list[str]) -> list[str]:
    """Parses flags; a bad config file, key or value ends in one sentence and exit status 2."""
    try:
        lost.hush(argv)
        rest = FLAGS(_with_new_names(argv))
        getattr(FLAGS.config, "lock", None)  # a missing file raises on access only
        return rest
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        print(f"vprjax: error: {_no_config(argv) or _sentence(error)}", file=sys.stderr)
        sys.exit(2)


def _with_new_names(argv: list[str]) -> list[str]:
    """Returns the arguments with this version's config keys; prints one line per old name."""
    if not any(word.lstrip("-").startswith("config.") for word in argv):
        return argv  # spares --help the imports
    from vprjax.config.changes import renamed_flags

    renamed, sentences = renamed_flags(argv)
    sys.argv[1:] = renamed[1:]  # where ml_collections looks for overrides
    for sentence in sentences:
        print(f"vprjax: {sentence}", file=sys.stderr)
    return renamed


def _new_name(text: str) -> str:
    """Today's name of a key that an older config file sets, where `text` quotes its old one."""
    from vprjax.config.changes import RENAMED

    new = {old.rpartition(".")[2]: key for old, key in RENAMED.items()}
    found = [new[name] for name in re.findall(r"\w+", text) if name in new][:1]
    return f"; it is now {found[0]}" if found else ""


def _no_config(argv: list[str]) -> str:
    """Returns the sentence on a config file that does not exist, and where one of its name is; else ""."""
    named = [word for word in argv if re.match("--?config=.", word)]
    file = pathlib.Path(named[-1].partition("=")[2].partition(":")[0]) if named else None
    if file is None or file.is_file():
        return ""
    own = pathlib.Path(__file__).absolute().parent.parent / "configs"
    there = own / file.name
    remedy = f"give {there}" if there.is_file() else f"those that come with vprjax are in {own}"
    return f"--config={file} is no file, seen from {pathlib.Path.cwd()}; {remedy}"


def _sentence(error: Exception) -> str:
    """Returns the message of the innermost error; ml_collections wraps a traceback around some."""
    if isinstance(error, flags.UnrecognizedFlagError) and error.flagname.startswith("config."):
        return (
            f"--{error.flagname} changes a config, but none is named: "
            "add --config=FILE, e.g. --config=configs/synthetic.py"
        )
    if isinstance(error, AttributeError | KeyError):
        text = str(error).replace("\\n", ". ").replace("\\'", "'")
        text = text.strip(chr(34)).removeprefix(chr(39)).removesuffix(chr(39))
        return f"unknown config key {text}{_new_name(text)}"
    innermost = r"^\s*(?:\w*Error: )?\[Errno \d+\] (.*)$|^\s*\w*Error: (.*)$"
    inner = [a or b for a, b in re.findall(innermost, str(error), flags=re.MULTILINE)]
    return " ".join((inner[-1] if inner else str(error)).split())


if __name__ == "__main__":
    if "jax" not in sys.modules:  # else another program runs this module, and would start again
        huge_pages.restart()
    sys.stdout.reconfigure(errors="replace")  # letters that the terminal's encoding lacks
    app.run(main, flags_parser=parse_flags)
