"""Which demonstrations there are, how large they are, and what is said of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

pytest.importorskip("torch", reason="the extra `federated` (PyTorch) is not installed")

from api.cli import build_app
from api.commands.demo import _find_room
from api.console.machine import find_memory
from api.demo import plans
from api.demo.plans import DEMONSTRATIONS, choose, describe, fit
from api.demo.show import FEW, draw_picture, show_story, to_json
from api.demo.stage import Plan, Role
from api.demo.told import Story
from api.errors import DemoUnknown
from api.settings import MAX_PROOF_ROWS, Settings
from consensus.wire.genesis import LEAST_SAMPLES
from federated.accuracy import count_correct
from federated.data import DatasetRef, LabeledImages, load_samples
from federated.local import improve, warm_up
from federated.partition import split_by_label
from federated.provable.steps import iterate_steps
from kernels.backend import get_backend
from kernels.numpy_types import UInt8Array
from prover.costs import REFERENCE_NS, Machine
from prover.errors import DoesNotFit
from prover.training.draws import draw_start
from prover.training.masters import export
from prover.training.masters import start as begin

LARGE = Machine(threads=2, memory_bytes=64 << 30, speeds_ns=REFERENCE_NS["ifma"])
GIB = 1 << 30


def ignore(what: str, done: int, total: int) -> None:
    assert 0 <= done <= total, what


def load(reference: str, data_dir: Path) -> LabeledImages:
    samples = load_samples(DatasetRef.parse(reference), data_dir)
    return LabeledImages(images=samples.images, labels=samples.labels)


def split(plan: Plan, data_dir: Path) -> tuple[LabeledImages, list[LabeledImages]]:
    """What everyone has, and what each client has."""
    public, rest = load(plan.train, data_dir).split(plan.n_public)
    parts = split_by_label(
        rest.labels,
        n_clients=len(plan.roles),
        concentration=plan.concentration,
        seed=plan.seed,
        least=plan.n_least,
    )
    return public, [rest.take(part) for part in parts]


@pytest.mark.parametrize(("dataset", "model"), list(DEMONSTRATIONS))
def test_each_has_packaged_samples_for_all_its_clients(
    dataset: str, model: str, tmp_path: Path
) -> None:
    plan = choose(dataset, model, tmp_path)
    assert (plan.dataset, plan.model) == (dataset, model)
    assert DatasetRef.parse(plan.train).name == DatasetRef.parse(plan.test).name == dataset
    public, parts = split(plan, tmp_path)
    assert len(public) == plan.n_public
    assert min(map(len, parts)) >= plan.n_least
    assert len(load(plan.test, tmp_path)) >= plan.n_samples >= LEAST_SAMPLES


def test_by_default_digits_are_learned_as_ever(tmp_path: Path) -> None:
    plan = choose("mnist", None, tmp_path)
    assert plan == Plan()
    fitting, proofs = fit(plan, LARGE)
    assert (fitting.n_samples, fitting.threshold, fitting.phase_ms) == (512, 256, 120_000)
    assert not fitting.is_small
    assert proofs.sizes.domain < 1 << 19
    assert len(describe(fitting)) == 1
    assert choose("cifar10", None, tmp_path).model == "lenet-small"


def test_steps_are_proven_of_digits_alone(tmp_path: Path) -> None:
    """A client without a full batch would take steps that are shorter than the others'."""
    plan = choose("mnist", None, tmp_path, by_steps=True)
    assert (plan.model, plan.n_steps) == ("mlp-784-128-10", 4)
    assert plan.roles == (*Plan().roles, Role.IMPOSTOR)
    fitting, proofs = fit(plan, LARGE)
    assert fitting.n_samples == 512
    assert fitting.phase_ms > 4000 * len(plan.roles) * (1 + plan.n_steps) * proofs.seconds.prove
    assert "4 steps of 64 samples a round" in describe(fitting)[1]
    _, parts = split(plan, tmp_path)
    assert len(parts) == 6
    assert min(map(len, parts)) > plan.recipe.batch_size
    with pytest.raises(DemoUnknown, match="cifar10 with proofs of training, but of mlp-784-128-10"):
        choose("cifar10", None, tmp_path, by_steps=True)


def test_few_exact_steps_get_more_right_than_is_asked(tmp_path: Path) -> None:
    """From starts that nobody chose, by the client that has the fewest samples."""
    plan = choose("mnist", None, tmp_path, by_steps=True)
    public, parts = split(plan, tmp_path)
    test, recipe = load(plan.test, tmp_path), plan.recipe
    for seed in range(3):
        samples = min(parts, key=len) + public
        order = np.random.default_rng(seed).permutation(len(samples))
        shuffled = samples.take(order.astype(np.int64))
        first = begin(recipe, draw_start(recipe, bytes([seed])))

        def get(number: int, of: LabeledImages = shuffled) -> tuple[UInt8Array, UInt8Array]:
            rows = slice(number * recipe.batch_size, (number + 1) * recipe.batch_size)
            return of.images[rows], of.labels[rows]

        *_, last = iterate_steps(recipe, first, np.arange(plan.n_steps), get)
        found = count_correct(export(recipe, last), test)
        assert found > plan.least_percent / 100 * len(test)


def test_all_of_a_fetched_set_is_no_less(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    packaged = choose("cifar10", "lenet-small", tmp_path)
    monkeypatch.setattr(plans, "has_full", lambda dataset, split, data_dir: split == "train")
    assert choose("cifar10", "lenet-small", tmp_path) == packaged
    monkeypatch.setattr(plans, "has_full", lambda dataset, split, data_dir: True)
    full = choose("cifar10", "lenet-small", tmp_path)
    n_full, n_packaged = (DatasetRef.parse(p.train).stop or 0 for p in (full, packaged))
    assert n_full > n_packaged
    assert n_full - full.n_public >= full.n_least * len(full.roles)
    assert full.n_samples == packaged.n_samples


@pytest.mark.parametrize("asked", [("cifar10", "resnet20"), ("cifar", None), ("mnist", "")])
def test_what_there_is_not_is_refused_by_what_there_is(
    asked: tuple[str, str | None], tmp_path: Path
) -> None:
    with pytest.raises(DemoUnknown, match=f"no demonstration of .*{asked[0]}, but") as refused:
        choose(*asked, tmp_path)
    for dataset, model in DEMONSTRATIONS:
        assert f"{model} on {dataset}" in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dataset", "cifar10", "--model", "resnet20"], "lenet-small on cifar10"),
        (["--dataset", "cifar10", "--samples", "513"], "tests on 512 samples"),
        (["--samples", "1"], "greater than or equal to 2"),
        (["--training", "full", "--dataset", "cifar10"], "with proofs of training"),
    ],
)
def test_the_command_refuses_before_any_work(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ZKPOT_DATA_DIR", str(tmp_path))
    found = CliRunner().invoke(build_app(), ["demo", *arguments], env={"COLUMNS": "200"})
    assert found.exit_code == 2
    assert words in " ".join(found.output.split())
    assert not (tmp_path / "demo" / "chain").exists()


def test_proofs_are_as_large_as_fits(tmp_path: Path) -> None:
    """Fewer than a usual task's are said to be, and who waits for proofs waits for all of them."""
    plan = choose("cifar10", "lenet-small", tmp_path)
    for memory, n_samples in ((64 * GIB, 128), (2 * GIB, 86)):
        machine = replace(LARGE, memory_bytes=memory)
        fitting, proofs = fit(plan, machine)
        assert fitting.n_samples == proofs.n_samples == n_samples
        assert proofs.sizes.n_rows <= MAX_PROOF_ROWS
        assert proofs.peak_bytes <= memory == fitting.memory_bytes
        assert fitting.is_small
        assert describe(fitting)[1] == FEW
        n_proofs = len(plan.roles)
        assert fitting.phase_ms >= 2000 * n_proofs * proofs.seconds.prove
        assert f"{proofs.sizes.n_rows} rows" in proofs.describe()
        assert "proofs of up to" not in proofs.describe()
    few, proofs = fit(plan, LARGE, n_samples=64)
    assert (few.n_samples, few.threshold, proofs.sizes.domain) == (64, 7, 3 << 19)
    with pytest.raises(DoesNotFit, match=r"256 samples has [0-9]+ rows"):
        fit(plan, LARGE, n_samples=256)
    with pytest.raises(DemoUnknown, match="tests on 512 samples"):
        fit(plan, LARGE, n_samples=513)


def test_half_of_the_memory_is_for_proofs() -> None:
    """The other processes have the rest; who set how much there is has thought of them."""
    backend = get_backend("cpu")
    there = _find_room(backend, Settings()).memory_bytes
    assert there is not None
    set_bytes = 5 * GIB
    assert _find_room(backend, Settings(memory_bytes=set_bytes)).memory_bytes == set_bytes
    assert there == (find_memory(Settings()) or 0) // 2


@pytest.mark.parametrize(("n_samples", "is_small"), [(64, True), (LEAST_SAMPLES, False)])
def test_a_story_says_of_what_it_is(n_samples: int, is_small: bool, tmp_path: Path) -> None:
    story = Story(n_samples=n_samples, n_pool=512, subject="lenet-small on cifar10", threshold=16)
    console = Console(record=True, width=400)
    show_story(story, console)
    text = console.export_text()
    assert f"lenet-small on cifar10, {n_samples} samples a proof, of which 16" in text
    assert (FEW in text) is is_small
    found = json.loads(json.dumps(to_json(story)))
    assert found["subject"] == "lenet-small on cifar10"
    assert found["allow_few_samples"] is is_small
    assert found["threshold"] == 16
    draw_picture(story, tmp_path / "picture.png")
    named = (tmp_path / "picture.png").read_bytes()
    draw_picture(replace(story, subject="mlp-784-48-10 on mnist"), tmp_path / "picture.png")
    assert named != (tmp_path / "picture.png").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(("dataset", "model"), [("mnist", "lenet5"), ("cifar10", "lenet-small")])
def test_who_learns_by_a_plan_gets_more_right_than_is_asked(
    dataset: str, model: str, tmp_path: Path
) -> None:
    """In integers, by scales found before: none is outgrown. By half as much again, since shards
    are small."""
    plan = choose(dataset, model, tmp_path)
    public, parts = split(plan, tmp_path)
    start, scales = warm_up(public, plan.architecture, ignore, settings=plan.warm_up)
    least = min(parts, key=len)
    found = improve(
        start,
        least + public,
        architecture=plan.architecture,
        scales=scales,
        seed=plan.seed,
        progress=ignore,
        settings=plan.local,
    )
    test = load(plan.test, tmp_path)
    assert count_correct(found, test) > 1.5 * plan.least_percent / 100 * len(test)
