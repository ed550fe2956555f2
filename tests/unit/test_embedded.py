"""The embedded server: never two of them on the files of one data directory."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from api.embedded import EmbeddedServer, ServerUnavailable, answers


def test_a_frozen_server_gets_no_second_one_beside_it(tmp_path: Path) -> None:
    first = EmbeddedServer(tmp_path)
    assert first.start()
    try:
        assert first.pid is not None
        os.kill(first.pid, signal.SIGSTOP)
        second = EmbeddedServer(tmp_path, patience_s=0.0)
        with pytest.raises(ServerUnavailable, match="does not answer"):
            second.start()
        assert second.pid is None
        os.kill(first.pid, signal.SIGCONT)
        assert answers(first.socket)
        assert not second.start()
    finally:
        first.stop()


def test_a_killed_server_leaves_room_for_the_next(tmp_path: Path) -> None:
    first, second = EmbeddedServer(tmp_path), EmbeddedServer(tmp_path)
    assert first.start()
    try:
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        assert second.start()
        assert answers(second.socket)
    finally:
        first.stop()
        second.stop()
