"""One run from requests to records and the leaderboard: the same for the command line and for Python."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..processes import cores

if TYPE_CHECKING:
    from ..plugins import Registry
    from .coordinator import Outcome
    from .request import Request


@dataclass(frozen=True)
class Session:
    """Where a run works and with what.

    `device`: cpu, cuda, cuda:N, or auto. `devices` share one stage. `workers` are stages trained in parallel,
    0 in this process, None: one for each core, or one on a GPU. `threads` are those of one stage.
    `data_workers` prefetch data that does not fit in memory; None: up to 8 on a GPU. `quiet`: no progress.
    `command` is what records say they were made by.
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

    def execute(self, requests_of: Callable[[Registry], Sequence[Request]]) -> tuple[Outcome, Registry, Path]:
        """Runs what `requests_of` makes of the installed plugins and draws the leaderboard.

        Returns what came out, the plugins, and the leaderboard's front page. Cells that fail are records.
        """
        from ..plugins import load_plugins, survey
        from ..store.store import Store
        from .coordinator import Runner
        from .matrix import plan_all
        from .progress import watch
        from .provenance import isolation, provenance
        from .recording import Recorder
        from .worker import Resources

        registry = load_plugins() if self.workers == 0 else survey()
        device = find_device(self.device)
        gpu = device.startswith("cuda")
        resources = Resources(
            store=self.store,
            data=self.data,
            device=device,
            devices=self.devices,
            threads=self.threads,
            data_workers=_given(self.data_workers, min(8, cores() // self.devices) if gpu else 0),
        )
        plan = plan_all(requests_of(registry), registry, resources.data, Store(resources.store))
        workers = _given(self.workers, 1 if gpu else max(1, cores() // self.threads))
        isolated = isolation(workers)
        if isolated == "audit-hook":
            _warn(
                "this system has no Landlock (Linux 5.13 or newer), so the kernel does not keep plugins "
                "from files; records say `isolation: audit-hook`"
            )
        if workers == 0:
            from .executors.inline import Inline as pool
        else:
            from .executors.local import LocalPool as pool  # type: ignore[assignment]
        made = partial(provenance, registry, device, self.threads, isolated, self.command)
        with watch(self.quiet) as watcher:
            runner = Runner(
                plan=plan,
                registry=registry,
                resources=resources,
                out=self.out,
                workers=workers,
                recorder=Recorder(made, registry.published),
                watcher=watcher,
                make_pool=pool,
            )
            outcome = runner.execute()
        return outcome, registry, write_board(self.out)


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
    from ..report.attestations import attested_in
    from ..report.pages.folder import book_for, has_figures, write
    from ..report.record_files import read_files

    records, problems = read_files(out / "records")
    attested, unread = attested_in(out / "attestations")
    for problem in [*problems, *unread]:
        _warn(problem.message)
    path = out / "LEADERBOARD.md"
    write(path, book_for(path, records, figures=has_figures(path), attestations=attested))
    return path
