"""Proofs in flight on one device: each has the bytes that it would have alone."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event, Semaphore

from api.worker.seats import Seat, Seats
from kernels.cuda.backend import CudaBackend
from prover.groth16.prove import prepare
from prover.keys.halves import ProvingKey
from prover.pedersen.commitment import draw_blinding
from prover.pipeline import MadeProof, commit_job, make_proof
from tests.conformance.backends import build_backend
from tests.support.accuracy_protocol import (
    OCCASION,
    accuracy_key,
    committer,
    run_job,
    scene,
    shard_inputs,
)
from tests.support.cuda_emulator import EmulatedDevice
from tests.support.cuda_meter import metered
from tests.support.skips import or_skip
from tests.support.tiny_circuits import seeded

PATIENCE_S = 600.0
"""Of waits that end with an event; only a test that fails waits so long."""
N_PROOFS = 4  # of which the third and the fourth are replayed


def make(key: ProvingKey, backend: CudaBackend, seed: int) -> MadeProof:
    """`run_job` of this seed, without the last stage."""
    s, source = scene(), seeded(seed)
    blinding = draw_blinding(source)
    return make_proof(
        s.accuracy,
        key,
        s.model,
        inputs=shard_inputs(),
        occasion=OCCASION,
        commitment=commit_job(s.model, blinding, committer()),
        blinding=blinding,
        random_bytes=source,
        backend=backend,
        clock=lambda: 0.0,
    )


def test_two_in_flight_are_made_as_one_after_the_other() -> None:
    """Each proof is verified, and may ask the device, only once the next one is being made."""
    backend = CudaBackend(or_skip(EmulatedDevice), build_backend("cpu"))
    key, seats, room = prepare(accuracy_key(), backend), Seats(2), Semaphore(2)
    has_device = [Event() for _ in range(N_PROOFS)]
    in_hand = list[int]()

    def work(seat: Seat, seed: int) -> bytes:
        try:
            seat.begin()
            seat.claim(lambda: 1)
            with seat.device():
                has_device[seed].set()
                made = make(key, backend, seed)
            if seed + 1 < N_PROOFS:
                assert has_device[seed + 1].wait(PATIENCE_S)
            in_hand.append(len(seats.taken))
            return made.check(seat.device()).envelope
        finally:
            seat.leave()
            room.release()

    with metered() as counts, ThreadPoolExecutor(2) as lanes:
        running = list[Future[bytes]]()
        for seed in range(N_PROOFS):
            assert room.acquire(timeout=PATIENCE_S)
            running.append(lanes.submit(work, seats.take(lambda: None), seed))
        found = [each.result() for each in running]
    assert found == [run_job(seed=seed).envelope for seed in range(N_PROOFS)]
    assert counts.launches["graph"] == 3 * 2  # the phases of two
    assert len(set(found)) == N_PROOFS
    assert in_hand[:-1] == [2] * (N_PROOFS - 1)
