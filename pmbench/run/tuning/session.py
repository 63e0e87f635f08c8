"""One study from its request to its files, with the processes of a run."""

from __future__ import annotations

from pathlib import Path

from ...errors import UsageError
from ...plugins import load_plugins, survey
from ...processes import cores
from ..executors.inline import Inline
from ..executors.local import LocalPool
from ..progress import watch
from ..session import find_device
from ..worker import Resources
from .files import TunedFile
from .request import TuningRequest
from .tune import Tuner


def tune(
    request: TuningRequest,
    *,
    out: Path,
    store: Path,
    data: Path,
    device: str = "auto",
    workers: int | None = None,
    threads: int = 1,
    quiet: bool = False,
) -> TunedFile:
    """Carries out a study in the folder `out`, or resumes it; arguments as of a `Session`."""
    found = find_device(device)
    gpu = found.startswith("cuda")
    if workers is None:
        workers = 1 if gpu else max(1, cores() // threads)
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is no folder")
    with watch(quiet) as watcher:
        tuner = Tuner(
            request=request,
            registry=load_plugins() if workers == 0 else survey(),
            resources=Resources(
                store=store,
                data=data,
                device=found,
                threads=threads,
                data_workers=min(8, cores()) if gpu else 0,
            ),
            out=out,
            workers=workers,
            watcher=watcher,
            make_pool=LocalPool if workers else Inline,
        )
        return tuner.execute()
