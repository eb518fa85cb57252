"""By whom a batch is done: this process, several of this machine, or the nodes of a cluster."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from deblur_cli.cli._options import Options, parse_tile
from deblur_cli.cli._perform import Emit
from deblur_cli.cli._restore import file_options, load_process
from deblur_cli.errors import UsageError

if TYPE_CHECKING:
    from deblur_cli.batch import Process
    from deblur_cli.cluster import Needs
    from deblur_cli.console import Console
    from deblur_cli.jobs import Job

EngineName = Annotated[
    Literal["local", "ray"], typer.Option(help="Who does the work: this machine, or a Ray cluster.")
]
Address = Annotated[
    str | None,
    typer.Option(metavar="auto|ray://HOST:10001", help="The Ray cluster.", show_default="auto"),
]

CLUSTER_TILE = 1024
"""In pixels: for so large a tile a worker of a cluster asks memory, where --tile is auto or 0."""

PROCESS_BYTES = 1_000_000_000
"""What a worker takes besides its tile: torch, the photo, and those that are read and written meanwhile."""

CLUSTER_CPUS = 4.0
"""Processor cores of a worker without a card, if its node has as many."""


@dataclass(frozen=True)
class EngineOptions:
    """As the user gave them. UsageError for an address that nobody would use."""

    name: Literal["local", "ray"]
    workers: int | None
    address: str | None

    def __post_init__(self) -> None:
        if self.address and self.name != "ray":
            raise UsageError("--address is that of a Ray cluster", hint="Add --engine ray, or leave it out.")


def run(
    engine: EngineOptions,
    options: Options,
    console: "Console",
    jobs: "Iterable[Job]",
    count: int,
    emit: Emit,
    wants_preview: "Callable[[Job], bool] | None",
) -> None:
    """Do the jobs, `count` of them. Each worker has a device, and its part of the threads and the memory."""
    from deblur_cli.batch import Processes, run_jobs, run_workers
    from deblur_cli.device import choose_devices

    files = file_options(options)
    if engine.name == "ray":
        from deblur_cli.cluster import Actors, connect

        connect(engine.address or "auto")
        needs = needs_of(options)
        maker = partial(load_on_node, replace(options, threads=max(1, int(needs.cpus)), quiet=True), needs)
        actors = Actors(maker, needs, files, min(count, engine.workers or count), console.say)
        run_workers(jobs, actors, emit, wants_preview=wants_preview)
        return
    devices = choose_devices(options.device)
    number_of = engine.workers or min(len(devices), max(1, count))
    if number_of == 1:
        make_process = partial(load_process, replace(options, device=devices[0]), console)
        run_jobs(jobs, make_process, emit, files=files, wants_preview=wants_preview)
        return
    threads = max(1, (options.threads or os.cpu_count() or 1) // number_of)
    share = len(devices) / max(number_of, len(devices))
    ours = replace(options, threads=threads, memory_share=share, quiet=True)
    one_each = [replace(ours, device=devices[number % len(devices)]) for number in range(number_of)]
    makers = [partial(load_worker, options) for options in one_each]
    run_workers(jobs, Processes(makers, files), emit, wants_preview=wants_preview)


def load_worker(options: Options) -> "Process":
    """The network in a worker process."""
    from deblur_cli.console import Console

    return load_process(options, Console(quiet=True))


def load_on_node(options: Options, needs: "Needs") -> "Process":
    """The network in a worker of a cluster, which uses as much of the node's memory as it has asked for."""
    from deblur_cli.device import choose_device, free_memory

    device = options.device if needs.gpus or options.device != "auto" else "cpu"
    share = 1.0 if needs.gpus else min(1.0, needs.memory_bytes / max(1, free_memory(choose_device(device))))
    return load_worker(replace(options, device=device, memory_share=share))


def needs_of(options: Options) -> "Needs":
    """A card where there are some and they are wanted, else processor cores; memory by the model of tiles."""
    from deblur_cli.cluster import Needs, has_gpus, smallest_cpus

    on_card = options.device.startswith("cuda") or (options.device == "auto" and has_gpus())
    cpus = float(options.threads or (1 if on_card else min(CLUSTER_CPUS, smallest_cpus())))
    return Needs(cpus, float(on_card), PROCESS_BYTES + (0 if on_card else tile_bytes(options)))


def tile_bytes(options: Options) -> int:
    """The memory of one tile, by `device.peak_bytes`."""
    from deblur_cli.api import find_weights_file
    from deblur_cli.device import peak_bytes
    from deblur_cli.loader import load_model

    path, _ = find_weights_file(options.weights)
    tile = parse_tile(options.tile)
    side = tile if isinstance(tile, int) and tile else CLUSTER_TILE
    return peak_bytes(load_model(path).config.dim_per_pixel, (side, side), 4)
