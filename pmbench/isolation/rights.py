"""Files of the interpreter and of installed packages, without the data that some of them ship."""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from .landlock import Rights

_LIBRARIES = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/etc/passwd")
_SITES = ("site-packages", "dist-packages")
_SYSTEM = ("/proc/cpuinfo", "/proc/meminfo", "/proc/self", "/sys/devices/system", "/sys/fs/cgroup")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_GPU_FILES, _GPU_DEVICES = ("/proc", "/sys", "/etc"), ("/dev",)
_SHARED_MEMORY = ("/dev/shm",)
_NETWORK = (
    "/sys/bus/pci",
    "/sys/class/net",
    "/sys/devices",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/ssl",
    "/etc/pki",
)


def of_code(
    read: Iterable[Path],
    write: Iterable[Path],
    hidden: Iterable[Path],
    *,
    gpu: bool = False,
    processes: int = 1,
    network: bool = False,
) -> Rights:
    """Rights of a process that runs plugins: to import all packages, and what `read` and `write` name.

    `hidden` are data files inside packages. `gpu`: it uses a GPU. With several `processes`, which exchange
    gradients, it may use TCP and shared memory; with `network` TCP alone.
    """
    several = processes > 1
    packages, folders = _packages(tuple(sorted(map(str, hidden))), tuple(sys.path))
    return Rights(
        read=(
            *_SYSTEM,
            *(_GPU_FILES if gpu else ()),
            *(_NETWORK if several or network else ()),
            *packages,
            *map(str, read),
        ),
        write=(
            *_DEVICES,
            *(_GPU_DEVICES if gpu else ()),
            *(_SHARED_MEMORY if several else ()),
            *map(str, write),
        ),
        listed=folders,
        execute=True,
        network=several or network,
    )


@functools.cache
def _packages(data: tuple[str, ...], places: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Paths of code, and folders in which it is searched; `places` is the import path."""
    roots = [Path(p).resolve() for p in dict.fromkeys(filter(None, places)) if os.path.isdir(p)]
    standard = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}
    programs = {Path(prefix, "bin").resolve() for prefix in (sys.base_prefix, sys.prefix)}
    roots = [r for r in roots if r.name in _SITES or not any(r.is_relative_to(s) for s in standard)]
    hidden = {_shipped(Path(path).resolve(), roots) for path in data}
    found: dict[str, None] = {}
    for folder in (*map(Path, _LIBRARIES), *sorted({*standard, *programs})):
        found |= dict.fromkeys(_without(folder, {*hidden, *(r for r in roots if r.name in _SITES)}))
    for root in roots:
        for path in sorted(root.iterdir()):
            if _is_code(path):
                found |= dict.fromkeys(_without(path, hidden))
    return (*found, str(Path(sys.prefix, "pyvenv.cfg"))), tuple(map(str, (*roots, *standard)))


def _shipped(data: Path, roots: list[Path]) -> Path:
    """What to hide for a data file: the package around it, or the file itself in a plugin of pmbench."""
    inside = [root for root in roots if data.is_relative_to(root)]
    if not inside:
        return data
    root = max(inside, key=lambda path: len(path.parts))
    package = root / data.relative_to(root).parts[0]
    return data if package.name.startswith("pmbench") else package


def _is_code(path: Path) -> bool:
    if path.is_dir():
        return (
            path.parent.name in _SITES
            or path.suffix in (".dist-info", ".egg-info")
            or (path / "__init__.py").is_file()
        )
    return path.suffix in (".py", ".so", ".pth", ".zip")


def _without(path: Path, hidden: set[Path]) -> Iterator[str]:
    """`path`, or the parts of it that contain nothing hidden; nothing if it does not exist."""
    real = path.resolve()
    if not real.exists():
        return
    if any(real.is_relative_to(away) for away in hidden):
        return
    if not any(away.is_relative_to(real) for away in hidden):
        yield str(path)
        return
    for inner in sorted(path.iterdir()):
        yield from _without(inner, hidden)
