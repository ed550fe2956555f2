"""Logs of the processes: lines for people, JSON objects for machines."""

from __future__ import annotations

import sys
from typing import Any

import structlog

from api.process.streams import outlasting


def make_log(*, to_people: bool) -> Any:
    """A logger on standard error. Ids, codes, heights and times go there, nothing secret.

    What cannot be written is lost: a full disk or a pipe without a reader ends no process.
    """
    renderer = (
        structlog.dev.ConsoleRenderer(colors=True)
        if to_people
        else structlog.processors.JSONRenderer(sort_keys=True)
    )
    return structlog.wrap_logger(
        structlog.PrintLogger(outlasting(sys.stderr)),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
    )
