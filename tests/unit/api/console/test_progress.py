"""Progress bars: none for what ends in a moment, one per step for what goes on."""

from __future__ import annotations

import pytest

from api.console.progress import MOMENT_S, _list_step_columns, _show


@pytest.mark.parametrize(("passed_s", "shown"), [(0.0, False), (2 * MOMENT_S, True)])
def test_bars_after_a_moment(
    passed_s: float, shown: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    times = iter([0.0, *[passed_s] * 4])
    with _show(_list_step_columns, lambda: next(times)) as update:
        for done in range(3):
            update("transforms", done, 2)
        update("sums", 1, 1)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines if line.strip()] == ["transforms", "sums"] * shown
