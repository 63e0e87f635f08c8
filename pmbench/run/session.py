"""One run from requests to records and the leaderboard: the same for the command line and for Python."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UnknownName, UsageError
from ..processes import cores

if TYPE_CHECKING:
    from ..plugins import Registry
    from .coordinator import Outcome
    from .executors.ray import Cluster
    from .request import Request

EXECUTORS = ("local", "ray")


@dataclass(frozen=True)
class Session:
    """Where a run works and with what.

    `device`: cpu, cuda, cuda:N, or auto. `devices` share one stage. `workers` are stages trained in parallel,
    0 in this process, None: one for each core, or one on a GPU. `threads` are those of one stage.
    `data_workers` prefetch data that does not fit in memory; None: up to 8 on a GPU. `quiet`: no progress.
    `command` is what records say they were made by. `executor`: "local", or "ray" on the cluster at
    `address` (HOST:PORT; None: the one of this machine), where `workers` is by default what fits and a stage
    takes `gpu_share` of a GPU. `join`: the same command runs in other processes, one of which writes.
    `shared_store` is a store that is only read.
    """

    out: Path
    store: Path
    data: Path
    command: Sequence[str]
    device: str = "auto"
    devices: int = 1
    workers: int | None = None
    threads: int = 1
    data_workers: int | None = None
    quiet: bool = False
    executor: str = "local"
    address: str | None = None
    gpu_share: float = 1.0
    join: bool = False
    shared_store: Path | None = None

    def execute(
        self, requests_of: Callable[[Registry], Sequence[Request]]
    ) -> tuple[Outcome, Registry, Path | None]:
        """Runs what `requests_of` makes of the installed plugins and draws the leaderboard.

        Returns what came out, the plugins, and the leaderboard's front page, which is None where another
        process writes it (`join`). Cells that fail are records.
        """
        with self._cluster() as cluster:
            return self._execute(requests_of, cluster)

    @contextmanager
    def _cluster(self) -> Iterator[Cluster | None]:
        """The Ray cluster of a run with --executor ray. Raises UsageError for options that do not fit."""
        if self.executor not in EXECUTORS:
            raise UnknownName("executor", self.executor, EXECUTORS)
        if self.executor == "local":
            if self.address is not None or self.gpu_share != 1:
                raise UsageError("--address and --gpu-share concern Ray alone", "add --executor ray")
            yield None
            return
        from .executors.ray import Cluster

        if self.workers == 0:
            raise UsageError("--workers 0 trains in this process, not on a cluster", "leave one of them out")
        if not 0 < self.gpu_share <= 1:
            raise UsageError(f"--gpu-share {self.gpu_share:g}; expected a number in (0, 1]")
        if self.gpu_share < 1 < self.devices:
            raise UsageError("--devices and --gpu-share: a share is of one device", "leave one of them out")
        with redirect_stdout(sys.stderr):  # Ray prints what happens to nodes
            cluster = Cluster.connect(self.address)
            try:
                yield cluster
            finally:
                cluster.close()

    def _execute(
        self, requests_of: Callable[[Registry], Sequence[Request]], cluster: Cluster | None
    ) -> tuple[Outcome, Registry, Path | None]:
        from ..plugins import load_plugins, survey
        from ..store.store import check_shared
        from ..store.uses import using
        from .coordinator import Runner
        from .matrix import plan_all
        from .progress import watch
        from .provenance import isolation, provenance
        from .recording import Recorder
        from .worker import Resources

        registry = load_plugins() if self.workers == 0 else survey()
        device = cluster.device(self.device) if cluster else find_device(self.device)
        gpu = device.startswith("cuda")
        resources = Resources(
            store=self.store,
            data=self.data,
            device=device,
            devices=self.devices,
            threads=self.threads,
            data_workers=_given(self.data_workers, min(8, cores() // self.devices) if gpu else 0),
            shared=check_shared(self.shared_store, self.store),
        )
        plan = plan_all(requests_of(registry), registry, resources.data, resources.opened())
        workers = _given(self.workers, 1 if gpu else max(1, cores() // self.threads))
        isolated = isolation(workers)
        pool: Callable[..., Any]
        if cluster:
            from .executors.ray import RayPool

            workers = cluster.prepare(resources, self.gpu_share, self.workers, plan.prepared)
            isolated = isolated if cluster.landlock else "audit-hook"
            pool = partial(RayPool, cluster, self.gpu_share)
        elif workers == 0:
            from .executors.inline import Inline as pool
        else:
            from .executors.local import LocalPool as pool
        if isolated == "audit-hook":
            _warn(
                "this system has no Landlock (Linux 5.13 or newer), so the kernel does not keep plugins "
                "from files; records say `isolation: audit-hook`"
            )
        made = partial(provenance, registry, device, self.threads, isolated, self.command)
        with watch(self.quiet) as watcher, using(self.store, plan.nodes):
            runner = Runner(
                plan=plan,
                registry=registry,
                resources=resources,
                out=self.out,
                workers=workers,
                recorder=Recorder(made, registry.published),
                watcher=watcher,
                make_pool=pool,
                evaluation_device=find_device("auto") if cluster and gpu else device,
                join=self.join,
            )
            outcome = runner.execute()
        return outcome, registry, None if outcome.left else write_board(self.out)


def _given(value: int | None, default: int) -> int:
    return default if value is None else value


def _warn(text: str) -> None:
    print(f"Warning: {text}", file=sys.stderr)


def find_device(name: str) -> str:
    """Resolves `auto` to cuda if an NVIDIA driver shows a GPU, without importing torch.

    Raises UsageError for an unknown name, and for a GPU that is not there.
    """
    gpus = any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()
    if name == "auto":
        return "cuda" if Path("/dev/nvidia0").exists() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise UsageError(f"unknown device {name!r}", "--device takes cpu, cuda, cuda:N or auto")
    if name != "cpu" and not gpus:
        raise UsageError(f"--device {name}: this machine shows no NVIDIA GPU", "use --device cpu, or auto")
    return name


def write_board(out: Path) -> Path:
    """Writes `out/LEADERBOARD.md` and its pages from the records below `out/records`.

    It shows the attestations in `out/attestations`. Figures are drawn if those of `pmbench leaderboard` are
    there. Warns of unreadable files.
    """
    from ..files import cache_folder
    from ..report.attestations import attested_in
    from ..report.pages.folder import book_for, has_figures, write
    from ..report.shelf import read_shelf

    shelf = read_shelf(out / "records", cache_folder("boards"))
    attested, unread = attested_in(out / "attestations")
    for problem in [*shelf.problems, *unread]:
        _warn(problem.message)
    path = out / "LEADERBOARD.md"
    figures = has_figures(path)
    write(
        path,
        book_for(path, shelf.records, figures=figures, attestations=attested, known=shelf.boards),
    )
    return path
