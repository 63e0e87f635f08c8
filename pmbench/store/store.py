"""The store of finished stages: one folder for each key, complete or absent."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..errors import StoreError, UsageError
from ..files import explain, file_digest, folder_atomic, write_atomic, write_json, write_text
from .integrity import CURVE, EPOCHS, LARGEST_JSON, STAGE, WEIGHTS, digest_file, with_digest
from .keys import digest
from .listing import Entry, keys_below, leftovers, read_listing, touch
from .locks import lock_of
from .tensors import Tensors, load_checked, save, save_checked

if TYPE_CHECKING:
    from torch import Tensor

_FINISHED = "finished"


@dataclass(frozen=True)
class Store:
    """A folder of finished stages. Safe for several processes and machines that share it.

    With `staged`, `put` and `put_program` write to the folder of the unfinished stage, which is all that a
    process which trains may write to; `adopt` and `adopt_program` of another process check and store them.

    What is not here is looked up in the store `shared`, in which nothing is ever written or locked. A stage
    that is here goes before one that is there.
    """

    root: Path
    staged: bool = False
    shared: Path | None = None

    @property
    def pretrained(self) -> Path:
        """Folder of pretrained weights; a missing file is downloaded again when it is needed."""
        return self.root / "pretrained"

    def own(self, key: str) -> Path:
        """Folder of a stage in this store, where it is or would be."""
        return self.root / key[:2] / key

    def folder(self, key: str) -> Path:
        """Folder of a stage: that of the shared store if it is stored there alone."""
        own = self.own(key)
        if self.shared is not None and not (own / STAGE).is_file():
            theirs = self.shared / key[:2] / key
            return theirs if (theirs / STAGE).is_file() else own
        return own

    def program(self, key: str, inputs: tuple[str, ...]) -> Path:
        """Path of the sealed program of a stage with these inputs.

        This store holds programs of stages of the shared store that were not sealed there.
        """
        name = _program_name(inputs)
        own = self.own(key) / name
        return own if own.is_file() else self.folder(key) / name

    def program_digest(self, key: str, inputs: tuple[str, ...]) -> str | None:
        """SHA-256 of the sealed program; None if it is missing or differs from what was sealed."""
        path = self.program(key, inputs)
        try:
            found = file_digest(path)
            return found if digest_file(path).read_text(encoding="ascii").strip() == found else None
        except (OSError, ValueError):
            return None

    def put_program(self, key: str, inputs: tuple[str, ...], write: Callable[[Path], None]) -> Path:
        """Stores the program that `write(path)` writes, and its digest; returns its path."""
        path = (self.work(key) if self.staged else self.own(key)) / _program_name(inputs)
        if not self.staged:
            digest_file(path).unlink(missing_ok=True)
        write_atomic(path, write)
        if not self.staged:
            write_text(digest_file(path), file_digest(path) + "\n")
            touch(path.parent)
        return path

    def adopt_program(self, key: str, inputs: tuple[str, ...]) -> Path:
        """Stores the program that another process has staged; raises StoreError if there is none."""
        staged = _regular(self.work(key) / _program_name(inputs))
        path = self.put_program(key, inputs, lambda temporary: _copy(staged, temporary))
        shutil.rmtree(self.work(key), ignore_errors=True)
        return path

    def has(self, key: str) -> bool:
        return (self.folder(key) / STAGE).is_file()

    def stage(self, key: str) -> dict[str, Any]:
        """Contents of `stage.json`; raises StoreError if it cannot be read."""
        path = self.folder(key) / STAGE
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
        if digest(stage.get("inputs")) != key:
            raise StoreError(
                f"a stage cannot be stored as {key[:12]}: the digest of its inputs is "
                f"{digest(stage.get('inputs'))[:12]}",
                "this is a defect of pmbench; nothing was stored",
            )

        if not self.staged:
            self._sweep(key)
        with folder_atomic(self.work(key) / _FINISHED if self.staged else self.own(key)) as folder:
            save(weights, folder / WEIGHTS)
            (folder / CURVE).write_text(curve, encoding="utf-8")
            digests = {
                "weights_sha256": file_digest(folder / WEIGHTS),
                "curve_sha256": file_digest(folder / CURVE),
            }
            if epochs:
                save(epochs, folder / EPOCHS)
                digests["epochs_sha256"] = file_digest(folder / EPOCHS)
            write_json(folder / STAGE, with_digest({**stage, "key": key, **digests}))
        if not self.staged:
            shutil.rmtree(self.work(key), ignore_errors=True)

    def adopt(self, key: str, change: Callable[[dict[str, Any]], None] = lambda stage: None) -> None:
        """Stores the stage that another process has staged, with its `stage.json` changed by `change`.

        Raises StoreError unless it holds the files of a stage, whose key is the digest of its inputs.
        """
        staged = self.work(key) / _FINISHED
        try:
            with _regular(staged / STAGE).open("rb") as file:
                stage = json.loads(file.read(LARGEST_JSON))
            if not isinstance(stage, dict) or digest(stage.get("inputs")) != key or stage.get("key") != key:
                raise ValueError("its inputs have another key")
            if file_digest(_regular(staged / WEIGHTS)) != stage.get("weights_sha256"):
                raise ValueError("its weights have another digest")
            names = [WEIGHTS, CURVE]
            if "epochs_sha256" in stage:
                if file_digest(_regular(staged / EPOCHS)) != stage["epochs_sha256"]:
                    raise ValueError("the weights of its epochs have another digest")
                names.append(EPOCHS)
            change(stage)
            stage["curve_sha256"] = file_digest(_regular(staged / CURVE))
            self._sweep(key)
            with folder_atomic(self.own(key)) as folder:
                for name in names:
                    _copy(_regular(staged / name), folder / name)
                write_json(folder / STAGE, with_digest(stage))
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
            path = self.own(key) / "methods" / method
            with suppress(OSError):
                if not path.exists():
                    path.parent.mkdir(exist_ok=True)
                    path.touch()
                    touch(path.parents[1])

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
        metadata = {"state": json.dumps(state)}
        write_atomic(
            self.checkpoint_path(key),
            lambda temporary: save_checked(tensors, temporary, metadata),
            durable=False,
        )

    def save_epoch(self, key: str, epoch: int, tensors: Tensors) -> None:
        """Writes the delivered weights of an epoch, from 1 on, of an unfinished stage."""
        path = self._epoch_path(key, epoch)
        write_atomic(path, lambda temporary: save_checked(tensors, temporary, {}), durable=False)

    def load_epochs(self, key: str, count: int) -> list[dict[str, Tensor]]:
        """The weights of the first `count` epochs; empty if those of one are missing or damaged."""
        found = [load_checked(self._epoch_path(key, epoch)) for epoch in range(1, count + 1)]
        return [one[0] for one in found if one] if all(found) else []

    def _epoch_path(self, key: str, epoch: int) -> Path:
        return self.work(key) / f"epoch-{epoch}"

    def load_checkpoint(self, key: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The checkpoint, or None if it is missing or damaged."""
        found = load_checked(self.checkpoint_path(key))
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
        """All finished stages, oldest first; those of the shared store before those of this one."""
        theirs = read_listing(self.shared, keep=False).entries if self.shared else []
        return [*theirs, *read_listing(self.root).entries]

    def find(self, prefix: str) -> list[str]:
        """Keys of finished stages of this store that begin with `prefix`."""
        return list(keys_below(self.root, prefix))

    def leftovers(self, older_than_s: float = 0.0) -> list[Path]:
        """What is no finished stage and was not modified for `older_than_s` seconds.

        That is checkpoints, partial downloads, temporary files, and programs of stages of a shared store.
        """
        return leftovers(self.root, read_listing(self.root).rest, older_than_s)

    def remove(self, key: str) -> None:
        """Removes a stage from this store, finished or not."""
        folder = self.own(key)
        removed = folder.with_name(f".{key}.removed.tmp")
        try:
            if folder.exists():
                shutil.rmtree(removed, ignore_errors=True)  # left by an interrupted removal
                folder.replace(removed)
                shutil.rmtree(removed)
            shutil.rmtree(self.work(key), ignore_errors=True)
        except OSError as error:
            raise explain(error, folder) from error


def check_shared(shared: Path | None, own: Path) -> Path | None:
    """`shared`, a folder that is not `own`; raises UsageError for another."""
    if shared is not None and not shared.is_dir():
        raise UsageError(f"the shared store {shared} is not a folder", "give a folder of finished stages")
    if shared is not None and shared.resolve() == own.resolve():
        raise UsageError(
            f"store and shared store are both {own}", "leave out --shared-store, or give another --store"
        )
    return shared


def _program_name(inputs: tuple[str, ...]) -> str:
    return f"sealed-{digest(list(inputs))[:12]}.pt2"


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
