"""Ends child processes together with their parent."""

import ctypes
import signal

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """For `preexec_fn`: makes the kernel kill this process when its parent ends.

    Without it a killed grid leaves a run that keeps its workdir locked.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
