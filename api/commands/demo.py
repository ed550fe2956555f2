"""`zkpot demo`: the main job: clients learn, prove and elect who leads, on real images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from api.commands.serve import choose_port
from api.console.output import REFUSED, AsJson, emit_json, refuse

if TYPE_CHECKING:
    from api.demo.stage import Plan
    from api.demo.told import Story
    from api.settings import Settings
    from kernels.backend import Backend
    from prover.costs import Machine

HOST = "127.0.0.1"
PICTURE, FOLDER = "accuracy.png", "demo"

Port = Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0 takes any free one.")]
DatasetName = Annotated[str, typer.Option(help="What clients learn: mnist or cifar10.")]
Model = Annotated[
    str | None,
    typer.Option(
        help="mlp-784-48-10 (default) or lenet5 on mnist, lenet-small on cifar10; with "
        "--training full mlp-784-128-10 on mnist.",
        show_default=False,
    ),
]
Training = Annotated[
    Literal["off", "full"],
    typer.Option(help="full: clients prove every step of their training, too; takes minutes."),
]
Samples = Annotated[
    int | None,
    typer.Option(
        min=2,
        help="Of a proof; default: 512, or 256 of a LeNet, or fewer where those do not fit.",
        show_default=False,
    ),
]
Stay = Annotated[bool, typer.Option("--stay", help="Leave the page up until interrupted.")]


def register(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    dataset: DatasetName = "mnist",
    model: Model = None,
    training: Training = "off",
    samples: Samples = None,
    port: Port = 0,
    stay: Stay = False,
    as_json: AsJson = False,
) -> None:
    """Five clients, of whom one lies and one forges, and four validators learn real images; with
    --training full a sixth, whose model comes from elsewhere.

    Real training, proofs and votes on this machine. Exit code 1 if anything in the story is untrue.
    """
    from api.console.queue_access import read_settings

    try:
        from api.demo import plans
    except ModuleNotFoundError as error:
        refuse(
            f"training needs {error.name}: pip install 'zkpot[federated]'",
            code="missing_package",
            as_json=as_json,
        )
    from api.console.refusals import meaning
    from api.errors import DemoUnknown

    settings = read_settings()
    with meaning("--dataset and --model", DemoUnknown):
        plan = plans.choose(dataset, model, settings.data_dir, by_steps=training == "full")
    stage_and_run(plan, settings, samples=samples, port=port, stay=stay, as_json=as_json)


def stage_and_run(
    plan: Plan, settings: Settings, *, samples: int | None, port: int, stay: bool, as_json: bool
) -> None:
    """The demonstration of this plan, as large as fits, under the settings' data directory."""
    from threading import Event

    from rich.console import Console

    from api.console.progress import show_steps
    from api.console.queue_access import keep_server
    from api.console.refusals import load_backend, meaning, refusing
    from api.demo.plans import describe, fit
    from api.demo.run import holding, run, set_up_in
    from api.demo.show import draw_picture, show_story, to_json
    from api.demo.stage import CHAIN
    from api.errors import DemoUnknown
    from api.process.supervisor import stop_on_signals
    from consensus.disk.certificates import CERTIFICATE

    port = choose_port(HOST, port, as_json=as_json)  # before the work, not after it
    folder = settings.data_dir / FOLDER
    stories: list[Story] = []
    stop = Event()

    def say(line: str) -> None:
        typer.echo(line, err=True)

    def told(story: Story) -> bool:
        stories.append(story)
        draw_picture(story, folder / PICTURE)
        if as_json:
            emit_json(to_json(story))
        else:
            show_story(story, Console(highlight=False))
            typer.echo(f"\npicture: {folder / PICTURE}")
            home = folder / CHAIN / "node-0"
            typer.echo(f"check it yourself: zkpot chain verify {home}")
            typer.echo(f"take {home / CERTIFICATE} to an EVM: zkpot chain proof {home}")
        if stay:
            say(f"the page stays at http://{HOST}:{port} until you interrupt")
        return stay

    with refusing(as_json=as_json), holding(folder):
        device = load_backend(settings.backend)
        with meaning("--samples", DemoUnknown):
            plan, proofs = fit(plan, _find_room(device, settings), n_samples=samples)
        for line in (*describe(plan), proofs.describe()):
            say(line)
        with show_steps() as report:
            stage = set_up_in(folder, plan, settings.data_dir, device, report)
        stop_on_signals(stop)
        with keep_server(settings, report=say) as mend:
            say(f"page: http://{HOST}:{port}")
            run(
                stage,
                settings,
                device,
                host=HOST,
                port=port,
                stop=stop,
                mend=mend,
                say=say,
                bars=show_steps,
                told=told,
            )
    if not stories[0].is_true:
        raise typer.Exit(REFUSED)


def _find_room(device: Backend, settings: Settings) -> Machine:
    """The machine as the process sees it that proves: half of the memory, where none was set."""
    from dataclasses import replace

    from api.console.machine import find_machine

    machine = find_machine(device, settings)
    if settings.memory_bytes or machine.memory_bytes is None:
        return machine
    return replace(machine, memory_bytes=machine.memory_bytes // 2)
