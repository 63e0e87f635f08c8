"""What a store holds: its stages, in a few values each, without opening 100,000 files.

The values are kept in an index beside the folders. It is a cache: it may be deleted at any time, it is
written to another file and renamed, and a part of it counts only while the folder that it describes has the
same time of change. That time is older than the index by `MARGIN_NS`, so that a change in the same tick of
the clock is not overlooked.
"""

from __future__ import annotations

import os
import re
import stat
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

INDEX = ".index"
"""Name of the file with the index, in the folder of the store."""
DOWNLOAD = "download-"
"""Prefix of files that are being downloaded, among the pretrained weights."""
_FORMAT = 1
MARGIN_NS = 2_000_000_000
_KEY = re.compile("[0-9a-f]{64}")
_SHARD = re.compile("[0-9a-f]{2}")


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A finished stage in a few values; one that its `stage.json` lacks is None.

    `changed` is the time of change of its folder in nanoseconds, `size` that of its files in bytes, `name`
    the class in its key, `trained_on` its samples in words, `steps` and `seconds` those of its training,
    `process_seconds` those of the process around it, `kept_epochs` the epochs whose weights are stored.
    """

    key: str
    changed: int
    size: int
    methods: tuple[str, ...] = ()
    stage: str | None = None
    name: str | None = None
    reads: tuple[str, ...] = ()
    backbones: tuple[str, ...] = ()
    dataset: str | None = None
    trained_on: str | None = None
    seed: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    parents: tuple[str, ...] = ()
    steps: int | None = None
    seconds: float | None = None
    process_seconds: float | None = None
    finished: float | None = None
    device: str | None = None
    kept_epochs: int = 0


class _Shard(msgspec.Struct, array_like=True, gc=False):
    """A folder of stages whose keys begin alike: its time of change and what it holds.

    `damaged` are keys whose `stage.json` cannot be read, `rest` names of all that is no finished stage.
    """

    changed: int
    entries: list[Entry]
    damaged: list[str]
    rest: list[str]


class _Index(msgspec.Struct, array_like=True):
    format: int
    shards: dict[str, _Shard]


@dataclass(frozen=True)
class Listing:
    """What a store holds: stages, oldest first; keys of damaged ones; paths of all that is unfinished."""

    entries: list[Entry]
    damaged: list[str]
    rest: list[Path]


def read_listing(root: Path, *, keep: bool = True) -> Listing:
    """What the folders below `root` hold. With `keep` the index is written where it was not up to date."""
    known, settled = _load(root / INDEX)
    shards: dict[str, _Shard] = {}
    stale = False
    for name in _shards(root):
        with suppress(FileNotFoundError):  # removed by another process
            changed = os.stat(root / name).st_mtime_ns
            old = known.get(name)
            if old is not None and old.changed == changed < settled:
                shards[name] = old
            else:
                shards[name] = _scan(root / name, changed, old, settled)
                stale = True
    if keep and (stale or shards.keys() != known.keys()):
        _save(root, _Index(_FORMAT, shards))
    entries = [entry for shard in shards.values() for entry in shard.entries]
    entries.sort(key=lambda e: e.finished or 0.0)  # those of one moment stay in the order of their keys
    return Listing(
        entries,
        sorted(key for shard in shards.values() for key in shard.damaged),
        [root / name / rest for name, shard in shards.items() for rest in shard.rest],
    )


def leftovers(root: Path, rest: Iterable[Path], older_than_s: float) -> list[Path]:
    """What is no finished stage and was not modified for some seconds; `rest` is that of a listing."""
    limit = time.time() - older_than_s
    names = (f"{INDEX}.*.tmp", f"pretrained/{DOWNLOAD}*", "pretrained/**/.*.tmp")
    found = []
    for path in (*rest, *(path for name in names for path in root.glob(name))):
        with suppress(FileNotFoundError):  # removed by another process
            if path.stat().st_mtime <= limit:
                found.append(path)
    return sorted(found)


def touch(folder: Path) -> None:
    """Makes the index of a stage's folder and of the folder around it out of date."""
    with suppress(OSError):
        os.utime(folder)
        os.utime(folder.parent)


def _shards(root: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(root) if _SHARD.fullmatch(name))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _load(path: Path) -> tuple[Mapping[str, _Shard], int]:
    """The shards of an index, and the time before which a folder must have changed last to be believed."""
    try:
        with path.open("rb") as file:
            written = os.fstat(file.fileno()).st_mtime_ns
            index = msgspec.msgpack.decode(file.read(), type=_Index)
    except (OSError, ValueError):  # missing or damaged: made anew
        return {}, 0
    return (index.shards, written - MARGIN_NS) if index.format == _FORMAT else ({}, 0)


def _save(root: Path, index: _Index) -> None:
    """Writes the index, unless the store cannot be written to."""
    temporary = root / f"{INDEX}.{uuid.uuid4().hex}.tmp"
    with suppress(OSError):
        temporary.write_bytes(msgspec.msgpack.encode(index))
        temporary.replace(root / INDEX)
    with suppress(OSError):
        temporary.unlink()


def _scan(folder: Path, changed: int, old: _Shard | None, settled: int) -> _Shard:
    """Reads a shard; a stage whose folder has not changed is taken from `old`."""
    known = {entry.key: entry for entry in old.entries} if old else {}
    found = _Shard(changed, [], [], [])
    for item in sorted(os.scandir(folder), key=lambda item: item.name):
        key = item.name
        if not _KEY.fullmatch(key):
            if key.endswith((".work", ".tmp")):
                found.rest.append(key)
            continue
        try:
            moment = item.stat().st_mtime_ns
            entry = known.get(key)
            if entry is None or not entry.changed == moment < settled:
                entry = _entry(key, moment, item.path)
            found.entries.append(entry)
        except FileNotFoundError:
            if os.path.isdir(item.path):
                found.rest.append(key)
        except (OSError, ValueError, TypeError, AttributeError, KeyError):
            found.damaged.append(key)
    return found


def _entry(key: str, changed: int, folder: str) -> Entry:
    """The values of a stage; raises FileNotFoundError without a `stage.json`, others for a damaged one."""
    with open(os.path.join(folder, "stage.json"), "rb") as file:
        stage = msgspec.json.decode(file.read())
    size, methods = 0, []
    for item in os.scandir(folder):
        if item.name == "methods":
            methods = sorted(os.listdir(item.path))
        elif stat.S_ISREG((about := item.stat(follow_symlinks=False)).st_mode):
            size += about.st_size
    entry = entry_of(key, stage, size, methods, changed)
    return msgspec.convert(msgspec.to_builtins(entry), Entry)  # values of other types are damage


def entry_of(
    key: str, stage: Mapping[str, Any], size: int, methods: Iterable[str] = (), changed: int = 0
) -> Entry:
    """The values of a stage from its `stage.json`."""
    inputs, cost = stage.get("inputs", {}), stage.get("cost", {})
    return Entry(
        key=key,
        changed=changed,
        size=size,
        methods=tuple(methods),
        stage=stage.get("stage"),
        name=inputs.get("stage"),
        reads=tuple(inputs.get("backbones", ())),
        backbones=tuple(backbone["name"] for backbone in inputs.get("backbones", {}).values()),
        dataset=inputs.get("dataset", {}).get("name"),
        trained_on=samples_text(inputs),
        seed=inputs.get("seed"),
        epochs=inputs.get("recipe", {}).get("epochs"),
        batch_size=inputs.get("recipe", {}).get("batch_size"),
        parents=tuple(stage.get("parents", ())),
        steps=cost.get("steps"),
        seconds=cost.get("seconds"),
        process_seconds=cost.get("process_seconds"),
        finished=stage.get("finished"),
        device=stage.get("environment", {}).get("device"),
        kept_epochs=len(stage.get("curve", ())) if "epochs_sha256" in stage else 0,
    )


def samples_text(inputs: Mapping[str, Any]) -> str | None:
    """Training samples of a stage: `train`, `train, 10 labels a class`.

    The name of the protocol is not part of a stage: both directions of privilege share stages.
    """
    protocol = inputs.get("protocol")
    if not protocol:
        return None
    parts = [protocol["split"]["train"]]
    if protocol.get("labels_per_class") is not None:
        parts.append(f"{protocol['labels_per_class']} labels a class")
    if protocol.get("paired_percent", 100) < 100:
        parts.append(f"{protocol['paired_percent']} % paired")
    for name, wrong in inputs.get("corruption", {}).items():
        parts.append(f"{name} with noise {wrong['noise']:g} and delay {wrong['delay']}")
    return ", ".join(parts)


def keys_below(root: Path, prefix: str) -> Iterator[str]:
    """Keys of finished stages that begin with `prefix`, in order."""
    for name in _shards(root):
        if name.startswith(prefix[:2]):
            for key in sorted(os.listdir(root / name)):
                path = root / name / key
                if key.startswith(prefix) and _KEY.fullmatch(key) and (path / "stage.json").is_file():
                    yield key
