"""Provenance of records: versions, device, commit."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import importlib.util
import platform
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..isolation import landlock
from ..plugins import Registry
from ..plugins.registry import entry_points
from ..report.record import Isolation, Provenance

_LIBRARIES = ("torch", "numpy", "scipy", "lightning-fabric")
"""Distributions used in every run; backbones declare others."""
_FOLDERS = ("--out", "--store", "--data", "--tuned")


def isolation(workers: int) -> Isolation:
    """How a run with so many workers isolates the code of plugins; 0 trains in the process of the command."""
    if workers == 0:
        return "none"
    return "landlock" if landlock.version() else "audit-hook"


def provenance(
    registry: Registry,
    device: str,
    threads: int,
    isolated: Isolation,
    command: Sequence[str],
    precision: str,
) -> Provenance:
    """The provenance of records written now; `command` has the words after `pmbench`."""
    versions = dict(registry.distributions)
    for name in (*_LIBRARIES, *registry.libraries):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    commit, dirty = _git()
    return Provenance(
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=["pmbench", *without_folders(command)],
        pmbench=versions.get("pmbench", "unknown"),
        distributions=dict(sorted(versions.items())),
        python=platform.python_version(),
        torch=versions.get("torch", "unknown"),
        platform=f"{platform.system()} {platform.machine()}",
        device=device,
        threads=threads,
        precision=precision,
        isolation=isolated,
        git_commit=commit,
        git_dirty=dirty,
    )


def without_folders(arguments: Iterable[str]) -> list[str]:
    """Arguments of a command without those folders, whose paths concern one machine only."""
    kept: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument in _FOLDERS:
            next(rest, None)
        elif argument.partition("=")[0] not in _FOLDERS:
            kept.append(argument)
    return kept


@functools.cache
def _git() -> tuple[str | None, bool | None]:
    """Commit of the checkout that pmbench runs from, and whether it has changes; None outside a checkout."""
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / ".git").exists():
        return None, None
    try:
        commit = _run(checkout, "rev-parse", "HEAD")
        return commit or None, has_changes(checkout, _packages(checkout))
    except (OSError, subprocess.SubprocessError):
        return None, None


def has_changes(checkout: Path, packages: Sequence[str]) -> bool:
    """Whether a file of the checkout has changed, or one was added to the packages, which are imported."""
    changed = _run(checkout, "status", "--porcelain", "--untracked-files=no")
    added = _run(checkout, "ls-files", "--others", "--exclude-standard", "--", *packages)
    return bool(changed or added)


def _packages(checkout: Path) -> list[str]:
    """Paths in the checkout of pmbench and of the modules of installed plugins."""
    modules = {"pmbench", *(point.module.partition(".")[0] for *_, point in entry_points())}
    specs = [spec for module in sorted(modules) if (spec := importlib.util.find_spec(module))]
    found = [path for spec in specs for path in spec.submodule_search_locations or (spec.origin,)]
    paths = [Path(path).resolve() for path in found if path]
    return [str(path) for path in paths if path.is_relative_to(checkout)]


def _run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()
