"""Progress of a task on its way to the queue: as a fraction, timed by stage, and not too often."""

from __future__ import annotations

from collections.abc import Callable

from api.queue.jobs import Progress

STAGES = ("witness 1", "commit", "challenges", "witness 2", "prove", "verify")
"""Stages of `prover.pipeline`, in their order; whatever else is reported is a part of one."""
KEY_STAGES = (
    "columns",
    "public basis",
    "A query",
    "B query in G1",
    "B query in G2",
    "C query",
    "quotient query",
    "advice basis",
    "linked basis",
    "link",
    "corrections",
    "bases of commitments",
)
"""Stages of a setup, in their order; the last one derives what a machine keeps for all keys."""
KEY_SHARE = 0.6
"""Of a job whose key has to be made first."""
GROUPS = {
    "witness 1": "witness",
    "witness 2": "witness",
    "commit": "commit",
    "products": "quotient",
    "transforms": "quotient",
    "A": "msm",
    "B in G1": "msm",
    "B in G2": "msm",
    "C": "msm",
    "C quotient": "msm",
    "verify": "verify",
}
"""The stage of the metrics that a reported stage counts for."""
MIN_PAUSE_S = 0.1
"""Between two reports of one stage to the queue."""


class TaskReport:
    """A `StageProgress` for one task."""

    def __init__(
        self,
        send: Callable[[Progress], None],
        check: Callable[[], None],
        *,
        clock: Callable[[], float],
    ) -> None:
        """send : to the queue; check : raises when the work is to stop"""
        self._send, self._check, self._clock = send, check, clock
        self._fraction = self._key_fraction = 0.0
        self._stage, self._since = "", clock()
        self._sent_stage, self._sent_at = "", clock()
        self.stages_s: dict[str, float] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = self._clock()
        group = GROUPS.get(self._stage)
        if group is not None:
            self.stages_s[group] = self.stages_s.get(group, 0.0) + now - self._since
        self._stage, self._since = stage, now
        self._check()
        self._fraction = max(self._fraction, self._find_fraction(stage, done / max(1, total)))
        if stage != self._sent_stage or now - self._sent_at >= MIN_PAUSE_S:
            self._sent_stage, self._sent_at = stage, now
            self._send(Progress(stage=stage, done=done, total=total, fraction=self._fraction))

    def _find_fraction(self, stage: str, done: float) -> float:
        """How much of the job is behind this: of a key that is made, then of the proof."""
        if stage in KEY_STAGES:
            at = (KEY_STAGES.index(stage) + done) / len(KEY_STAGES)
            self._key_fraction = max(self._key_fraction, KEY_SHARE * at)
            return self._key_fraction
        if stage in STAGES:
            at = (STAGES.index(stage) + done) / len(STAGES)
            return self._key_fraction + (1 - self._key_fraction) * at
        return 0.0
