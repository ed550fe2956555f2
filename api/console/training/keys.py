"""`zkpot setup --training`: both keys of a recipe, in the folders that proofs of training take."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from api.console.files import require_no_key
from api.console.machine import find_machine
from api.console.progress import show_steps
from api.console.refusals import load_backend, refusing
from api.console.training.recipes import find_recipe
from kernels.backend import Backend
from prover.circuit.training.export import ExportCircuit, compile_export
from prover.circuit.training.export_plan import require_export
from prover.circuit.training.sizes import compute_step_sizes, require_step
from prover.circuit.training.step import StepCircuit, compile_step
from prover.costs import Machine
from prover.groth16.setup_training import setup_export, setup_step
from prover.keys.folder import CARD_NAME, PROVING_NAME, VERIFYING_NAME, save_key
from prover.keys.halves import ProvingKey
from prover.keys.streamed import Keep, keep_in_memory, keeping_in_file
from prover.keys.training_card import ExportCard, StepCard, TrainingCard
from prover.keys.training_folder import EXPORT_NAME, STEP_NAME, digest_keys
from prover.plan import Plan, plan_circuit
from prover.progress import StageProgress
from prover.training.recipe import TrainingRecipe

BASES = "bases.partial"
"""A file beside a key while it is made, where memory has no room for its bases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One of the two keys: its folder, what it is of in words, and what makes it.

    describe : the card of the circuit that `compile_it` makes
    setup    : its key, under a fresh trapdoor that is forgotten
    """

    name: str
    words: str
    plan: Plan
    compile_it: Callable[[], StepCircuit | ExportCircuit]
    describe: Callable[[Any], TrainingCard]
    setup: Callable[..., ProvingKey]


def plan_parts(
    recipe: TrainingRecipe, machine: Machine, *, of_ceremonies: Collection[str] = ()
) -> tuple[Part, Part]:
    """Both keys, once both are known to fit. Raises CircuitTooLarge, DoesNotFit.

    of_ceremonies : names of those that a ceremony made

    The export's comes first: it is the smaller one, so what goes wrong does so soon.
    """
    step = f"a training step of {recipe.architecture.name} on {recipe.batch_size} samples"
    export = f"an export of {recipe.architecture.name}"
    export_sizes, step_plan = require_export(recipe).sizes, require_step(recipe)
    export_sizes = replace(export_sizes, is_padded=EXPORT_NAME in of_ceremonies)
    step_sizes = replace(compute_step_sizes(step_plan), is_padded=STEP_NAME in of_ceremonies)
    return (
        Part(
            name=EXPORT_NAME,
            words=export,
            plan=plan_circuit(export, export_sizes, machine),
            compile_it=lambda: compile_export(recipe),
            describe=ExportCard.of,
            setup=setup_export,
        ),
        Part(
            name=STEP_NAME,
            words=step,
            plan=plan_circuit(step, step_sizes, machine),
            compile_it=lambda: compile_step(recipe),
            describe=StepCard.of,
            setup=setup_step,
        ),
    )


def setup_training(
    subject: str, batch_size: int | None, out: Path, backend: str, *, as_json: bool
) -> dict[str, Any]:
    """Makes both keys, and says what they are: a JSON value.

    subject : as `find_recipe` takes it
    """
    for name in (STEP_NAME, EXPORT_NAME):
        require_no_key(out / name, as_json=as_json)
    started = time.perf_counter()
    with refusing(as_json=as_json):
        device = load_backend(backend)
        recipe = find_recipe(subject, batch_size)
        parts = plan_parts(recipe, find_machine(device))
        for part in parts:
            typer.echo(f"{part.words}: {part.plan.describe()}", err=True)
        with _all_or_none(out, [part.name for part in parts]), show_steps() as progress:
            keys = {part.name: _make(part, out / part.name, device, progress) for part in parts}
    digest = digest_keys(*(bytes.fromhex(keys[x]["key_digest"]) for x in (STEP_NAME, EXPORT_NAME)))
    return {
        "architecture": recipe.architecture.name,
        "recipe": recipe.numbers,
        "recipe_digest": recipe.digest.hex(),
        **keys,
        "key_digest": digest.hex(),
        "out": str(out),
        "bytes": sum(keys[name]["bytes"] for name in keys),
        "setup_s": time.perf_counter() - started,
    }


def _make(part: Part, folder: Path, backend: Backend, progress: StageProgress) -> dict[str, Any]:
    """One key in its folder, and what it is."""

    def report(stage: str, done: int, total: int) -> None:
        progress(f"{part.name}: {stage}", done, total)

    keeping: AbstractContextManager[Keep] = nullcontext(keep_in_memory)
    if part.plan.streams:
        folder.mkdir(parents=True, exist_ok=True)
        keeping = keeping_in_file(folder / BASES)
    with keeping as keep:
        report("circuit", 0, 1)
        circuit = part.compile_it()
        report("circuit", 1, 1)
        key = part.setup(
            circuit, random_bytes=secrets.token_bytes, backend=backend, progress=report, keep=keep
        )
        save_key(key, folder, part.describe(circuit))
    return {
        "rows": circuit.r1cs.n_rows,
        "domain": key.domain,
        "circuit_digest": circuit.digest.hex(),
        "key_digest": key.verifying.digest.hex(),
        "bytes": sum(path.stat().st_size for path in folder.iterdir()),
    }


@contextmanager
def _all_or_none(out: Path, names: list[str]) -> Iterator[None]:
    """After an error no key is left of those that are made in here: one alone is of no use."""
    is_new = not out.exists()
    try:
        yield
    except BaseException:
        for name in names:
            for part in (VERIFYING_NAME, CARD_NAME, PROVING_NAME):
                (out / name / part).unlink(missing_ok=True)
        for folder in [*(out / name for name in names), *([out] if is_new else [])]:
            with suppress(OSError):  # not made yet, or somebody put something there
                folder.rmdir()
        raise
