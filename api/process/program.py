"""The `zkpot` program as a child process runs it, wherever its script lies."""

from __future__ import annotations

import sys

PROGRAM = (sys.executable, "-c", "from api.cli import main; main()")
