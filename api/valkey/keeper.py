"""Keeps a queue server for as long as anyone uses it: a script of its own process, see `embedded`.

    python keeper.py USERS ALIVE PROGRAM OPTION...

USERS is a file on which every user of the server holds a shared lock: it is free when the last one
has let go, or has died. ALIVE is a descriptor with a lock that must last as long as the server.
This process belongs to no one: not to whoever started it, nor to a terminal. It imports nothing of
the package, so that it starts at once and stays small.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import subprocess
import sys

STOP_S = 20.0
_PR_SET_PDEATHSIG = 1


class _Ends(Exception):
    """A signal says so."""


def main(users: str, alive: int, command: list[str]) -> None:
    """Starts the server, and ends with it or with its last user."""
    if os.fork():
        os._exit(0)  # whoever started this does not have to wait for it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = subprocess.Popen(
        command,
        pass_fds=[alive],
        preexec_fn=_die_with_keeper if sys.platform == "linux" else None,
    )
    os.close(alive)
    with open(users, "ab") as held:
        try:
            for number in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(number, _end)
            if server.poll() is None:
                fcntl.flock(held, fcntl.LOCK_EX)  # who comes now waits, and starts another one
        except _Ends:
            pass
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else signal.SIG_IGN)
        _stop(server)


def _end(*_: object) -> None:
    raise _Ends


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(STOP_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _die_with_keeper() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
