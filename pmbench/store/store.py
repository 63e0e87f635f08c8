"""The store of finished stages: one folder for each key, complete or absent."""

from __future__ import annotations

import json
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..errors import StoreError
from ..files import explain, file_digest, folder_atomic, write_atomic, write_json, write_text
from .keys import digest
from .locks import lock_of

if TYPE_CHECKING:
    from torch import Tensor

Tensors = Mapping[str, "Tensor"]

_FINISHED = "finished"
WEIGHTS, EPOCHS = "weights.safetensors", "epochs.safetensors"
_LARGEST_JSON = 1 << 26
"""Bytes of a `stage.json` that are read at most."""

DOWNLOAD = "download-"
"""Prefix of files that are being downloaded."""


@dataclass(frozen=True)
class Entry:
    """A finished stage: its `stage.json`, the size of its folder in bytes, and the methods that use it."""

    key: str
    stage: Mapping[str, Any]
    size: int
    methods: tuple[str, ...] = ()


@dataclass(frozen=True)
class Store:
    """A folder of finished stages. Safe for several processes and machines that share it.

    With `staged`, `put` and `put_program` write to the folder of the unfinished stage, which is all that a
    process which trains may write to; `adopt` and `adopt_program` of another process check and store them.
    """

    root: Path
    staged: bool = False

    @property
    def pretrained(self) -> Path:
        """Folder of pretrained weights; a missing file is downloaded again when it is needed."""
        return self.root / "pretrained"

    def folder(self, key: str) -> Path:
        return self.root / key[:2] / key

    def program(self, key: str, inputs: tuple[str, ...]) -> Path:
        """Path of the sealed program of a stage with these inputs."""
        return self.folder(key) / f"sealed-{digest(list(inputs))[:12]}.pt2"

    def program_digest(self, key: str, inputs: tuple[str, ...]) -> str | None:
        """SHA-256 of the sealed program; None if it is missing or differs from what was sealed."""
        path = self.program(key, inputs)
        try:
            found = file_digest(path)
            return found if _digest_file(path).read_text(encoding="ascii").strip() == found else None
        except (OSError, ValueError):
            return None

    def put_program(self, key: str, inputs: tuple[str, ...], write: Callable[[Path], None]) -> Path:
        """Stores the program that `write(path)` writes, and its digest; returns its path."""
        path = self.program(key, inputs)
        if self.staged:
            path = self.work(key) / path.name
            write_atomic(path, write)
            return path
        _digest_file(path).unlink(missing_ok=True)
        write_atomic(path, write)
        write_text(_digest_file(path), file_digest(path) + "\n")
        return path

    def adopt_program(self, key: str, inputs: tuple[str, ...]) -> Path:
        """Stores the program that another process has staged; raises StoreError if there is none."""
        staged = _regular(self.work(key) / self.program(key, inputs).name)
        path = self.put_program(key, inputs, lambda temporary: _copy(staged, temporary))
        shutil.rmtree(self.work(key), ignore_errors=True)
        return path

    def has(self, key: str) -> bool:
        return (self.folder(key) / "stage.json").is_file()

    def stage(self, key: str) -> dict[str, Any]:
        """Contents of `stage.json`; raises StoreError if it cannot be read."""
        path = self.folder(key) / "stage.json"
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StoreError(
                f"{path} cannot be read: {error}",
                f"`pmbench store prune {key[:12]}` removes it, so that it is trained again",
            ) from error

    def whole(self, key: str) -> bool:
        """Whether the stage is stored and its weights are intact."""
        try:
            return file_digest(self.folder(key) / WEIGHTS) == self.stage(key)["weights_sha256"]
        except (OSError, StoreError, KeyError):
            return False

    def finished(self, key: str) -> bool:
        """Whether the stage is whole, and was validated: untrained stages were not in early versions."""
        if not self.whole(key):
            return False
        stage = self.stage(key)
        return bool(stage.get("cost", {}).get("steps")) or "validated" in stage

    def weights(self, key: str) -> dict[str, Tensor]:
        """State dict of the delivered network; raises StoreError if the file is missing or damaged."""
        from safetensors.torch import load_file

        path = self.folder(key) / WEIGHTS
        if not self.whole(key):
            raise StoreError(f"{path} is missing or damaged", "run the same command to train the stage again")
        return load_file(path)

    def epochs(self, key: str) -> Path | None:
        """File with the weights "<epoch>/<name>" of each epoch of a stage, if they are stored and intact."""
        path = self.folder(key) / EPOCHS
        try:
            return path if file_digest(path) == self.stage(key).get("epochs_sha256") else None
        except (OSError, StoreError):
            return None

    def put(
        self,
        key: str,
        weights: Tensors,
        stage: Mapping[str, Any],
        curve: str,
        epochs: Tensors = MappingProxyType({}),
    ) -> None:
        """Stores a finished stage, all files at once, and removes its checkpoint.

        `epochs` has the weights of each epoch, as described at `Store.epochs`; it may be empty. Raises
        StoreError unless `key` is the digest of `stage["inputs"]`.
        """
        from safetensors.torch import save_file

        if digest(stage.get("inputs")) != key:
            raise StoreError(
                f"a stage cannot be stored as {key[:12]}: the digest of its inputs is "
                f"{digest(stage.get('inputs'))[:12]}",
                "this is a defect of pmbench; nothing was stored",
            )

        if not self.staged:
            self._sweep(key)
        with folder_atomic(self.work(key) / _FINISHED if self.staged else self.folder(key)) as folder:
            _save(lambda: save_file(_plain(weights), folder / WEIGHTS), folder)
            (folder / "curve.csv").write_text(curve, encoding="utf-8")
            digests = {"weights_sha256": file_digest(folder / WEIGHTS)}
            if epochs:
                _save(lambda: save_file(_plain(epochs), folder / EPOCHS), folder)
                digests["epochs_sha256"] = file_digest(folder / EPOCHS)
            write_json(folder / "stage.json", {**stage, "key": key, **digests})
        if not self.staged:
            shutil.rmtree(self.work(key), ignore_errors=True)

    def adopt(self, key: str, change: Callable[[dict[str, Any]], None] = lambda stage: None) -> None:
        """Stores the stage that another process has staged, with its `stage.json` changed by `change`.

        Raises StoreError unless it holds the files of a stage, whose key is the digest of its inputs.
        """
        staged = self.work(key) / _FINISHED
        try:
            with _regular(staged / "stage.json").open("rb") as file:
                stage = json.loads(file.read(_LARGEST_JSON))
            if not isinstance(stage, dict) or digest(stage.get("inputs")) != key or stage.get("key") != key:
                raise ValueError("its inputs have another key")
            if file_digest(_regular(staged / WEIGHTS)) != stage.get("weights_sha256"):
                raise ValueError("its weights have another digest")
            names = [WEIGHTS, "curve.csv"]
            if "epochs_sha256" in stage:
                if file_digest(_regular(staged / EPOCHS)) != stage["epochs_sha256"]:
                    raise ValueError("the weights of its epochs have another digest")
                names.append(EPOCHS)
            change(stage)
            self._sweep(key)
            with folder_atomic(self.folder(key)) as folder:
                for name in names:
                    _copy(_regular(staged / name), folder / name)
                write_json(folder / "stage.json", stage)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise StoreError(f"stage {key[:12]} was not left complete by its process: {error}") from error
        shutil.rmtree(self.work(key), ignore_errors=True)

    def _sweep(self, key: str) -> None:
        """Removes what a process that was killed while it stored the stage has left; only its lock's holder
        stores a stage.
        """
        for left in (self.root / key[:2]).glob(f".{key}.*.tmp"):
            shutil.rmtree(left, ignore_errors=True)

    def note_method(self, keys: Iterable[str], method: str) -> None:
        """Notes beside stored stages that a method uses them; what cannot be written is left out."""
        for key in keys:
            path = self.folder(key) / "methods" / method
            with suppress(OSError):
                if not path.exists():
                    path.parent.mkdir(exist_ok=True)
                    path.touch()

    def methods(self, key: str) -> list[str]:
        """Methods that use a stage, or used it in an earlier run, by name."""
        return sorted(path.name for path in (self.folder(key) / "methods").glob("*"))

    # --- unfinished stages ----------------------------------------------------------------------------------

    def work(self, key: str) -> Path:
        """Folder of an unfinished stage."""
        return self.root / key[:2] / f"{key}.work"

    def checkpoint_path(self, key: str) -> Path:
        return self.work(key) / "checkpoint"

    def save_checkpoint(self, key: str, tensors: Tensors, state: Mapping[str, Any]) -> None:
        """Writes the checkpoint of a stage, in place of an earlier one."""
        from safetensors.torch import save_file

        path = self.checkpoint_path(key)
        plain = _plain(tensors)
        metadata = {"state": json.dumps(state), "sum": _sum(plain)}
        write_atomic(
            path, lambda temporary: _save(lambda: save_file(plain, temporary, metadata), path), durable=False
        )

    def save_epoch(self, key: str, epoch: int, tensors: Tensors) -> None:
        """Writes the delivered weights of an epoch, from 1 on, of an unfinished stage."""
        from safetensors.torch import save_file

        path, plain = self._epoch_path(key, epoch), _plain(tensors)
        metadata = {"sum": _sum(plain)}
        write_atomic(
            path, lambda temporary: _save(lambda: save_file(plain, temporary, metadata), path), durable=False
        )

    def load_epochs(self, key: str, count: int) -> list[dict[str, Tensor]]:
        """The weights of the first `count` epochs; empty if those of one are missing or damaged."""
        found = [_checked(self._epoch_path(key, epoch)) for epoch in range(1, count + 1)]
        return [one[0] for one in found if one] if all(found) else []

    def _epoch_path(self, key: str, epoch: int) -> Path:
        return self.work(key) / f"epoch-{epoch}"

    def load_checkpoint(self, key: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The checkpoint, or None if it is missing or damaged."""
        found = _checked(self.checkpoint_path(key))
        try:
            return (found[0], json.loads(found[1]["state"])) if found else None
        except (ValueError, KeyError):
            return None

    @contextmanager
    def lock(self, key: str) -> Iterator[bool]:
        """Locks a stage; gives False if another process holds the lock, which ends with that process."""
        path = self.root / key[:2] / f".{key}.lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = lock_of(path, self.root)
            mine = lock.acquire()
        except OSError as error:
            raise explain(error, path) from error
        try:
            yield mine
        finally:
            if mine:
                lock.release()

    # --- housekeeping ---------------------------------------------------------------------------------------

    def entries(self) -> list[Entry]:
        """All finished stages, oldest first."""
        found = []
        for path in sorted(self.root.glob("??/[0-9a-f]*/stage.json")):
            key = path.parent.name
            try:
                found.append(Entry(key, self.stage(key), _size(path.parent), tuple(self.methods(key))))
            except StoreError:
                continue
        return sorted(found, key=lambda e: (str(e.stage.get("finished", "")), e.key))

    def find(self, prefix: str) -> list[str]:
        """Keys of finished stages that begin with `prefix`."""
        return sorted(p.parent.name for p in self.root.glob(f"{prefix[:2]}*/{prefix}*/stage.json"))

    def leftovers(self, older_than_s: float = 0.0) -> list[Path]:
        """Checkpoints, partial downloads and temporary files not modified for `older_than_s` seconds."""
        limit = time.time() - older_than_s
        found = []
        names = ("??/*.work", "??/.*.tmp", f"pretrained/{DOWNLOAD}*", "pretrained/**/.*.tmp")
        for path in (path for name in names for path in self.root.glob(name)):
            with suppress(FileNotFoundError):  # removed by another process
                if path.stat().st_mtime <= limit:
                    found.append(path)
        return sorted(found)

    def remove(self, key: str) -> None:
        """Removes a stage, finished or not."""
        folder = self.folder(key)
        removed = folder.with_name(f".{key}.removed.tmp")
        try:
            if folder.exists():
                shutil.rmtree(removed, ignore_errors=True)  # left by an interrupted removal
                folder.replace(removed)
                shutil.rmtree(removed)
            shutil.rmtree(self.work(key), ignore_errors=True)
        except OSError as error:
            raise explain(error, folder) from error


def _checked(path: Path) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Tensors and metadata of a file with a checksum, or None if it is missing or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return (tensors, metadata) if metadata["sum"] == _sum(tensors) else None
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None


def _digest_file(program: Path) -> Path:
    return program.with_suffix(".sha256")


def _regular(path: Path) -> Path:
    """`path`, a regular file; raises StoreError for a missing one, links and anything else."""
    if path.is_symlink() or path.parent.is_symlink() or not path.is_file():
        raise StoreError(f"{path} is no regular file")
    return path


def _copy(source: Path, target: Path) -> None:
    """Moves a file, or copies it to another file system."""
    try:
        source.rename(target)
    except OSError:
        shutil.copyfile(source, target, follow_symlinks=False)


def _plain(tensors: Tensors) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _sum(tensors: Tensors) -> str:
    """Checksum of names and bytes, to detect damaged checkpoints."""
    import torch

    total = 0
    for name in sorted(tensors):
        content = tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy()
        total = zlib.crc32(content.data, zlib.crc32(name.encode(), total))
    return f"{total:08x}"


def _save(write: Any, path: Path) -> None:
    """Converts an error of safetensors about a failed write to the OSError behind it."""
    from safetensors import SafetensorError

    try:
        write()
    except SafetensorError as error:
        text = str(error)
        code = 28 if "No space left" in text or "os error 28" in text else 5
        raise OSError(code, text, str(path)) from error


def _size(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
