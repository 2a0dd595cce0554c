"""Work in child processes that SIGKILL hits, for the tests that nothing is lost by it.

Only for scripts of their own: a fork of pytest would inherit threads that other tests started.
"""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable


def finishes(work: Callable[[], None], wait: float) -> bool:
    """Do `work` in a child process that gets SIGKILL after `wait` seconds; True if it finished."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # the child must never go on with what its parent was doing
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    deadline = time.monotonic() + wait
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0, f"the work failed with status {status}"
            return True
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False
