"""Finished stages in another place: a folder or a bucket, by fsspec, in the layout of a store."""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..errors import PmbenchError, StoreError, UsageError
from ..files import folder_atomic
from .integrity import CURVE, EPOCHS, LARGEST_JSON, STAGE, WEIGHTS, Damage, damages
from .store import Store

_FILES = re.compile(
    "|".join(map(re.escape, (WEIGHTS, EPOCHS, CURVE))) + r"|sealed-[0-9a-f]{12}\.(pt2|sha256)"
)
"""Files of a stage besides its `stage.json`, which is copied last: without it there is no stage."""
_KEY = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Remote:
    """Stages below an address such as `s3://bucket/group` or a path; `files` is its file system."""

    url: str
    files: Any
    path: str

    @classmethod
    def open(cls, url: str) -> Remote:
        """Raises UsageError for an address that no installed library can open."""
        from fsspec.core import url_to_fs

        try:
            files, path = url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise UsageError(
                f"{url} cannot be opened: {error}",
                "give a folder, or an address such as s3://bucket/folder (`pip install 'pmbench[s3]'`)",
            ) from error
        return cls(url, files, path.rstrip("/"))

    def keys(self, prefix: str = "") -> list[str]:
        """Keys of the stages there that begin with `prefix`. Raises StoreError for a place not readable."""
        with _problems(self.url):
            self.files.invalidate_cache()
            below = f"{self.path}/{prefix[:2]}" if len(prefix) > 1 else self.path
            found = [path.split("/") for path in self.files.find(below)]
        keys = {parts[-2] for parts in found if parts[-1] == STAGE}
        return sorted(key for key in keys if _KEY.fullmatch(key) and key.startswith(prefix))

    def push(self, store: Store, key: str) -> bool:
        """Copies a stage there, `stage.json` last; False if it is there. Raises StoreError for a damaged one.

        What an interrupted call has left is replaced: it may be of another training of the same stage.
        """
        folder, there = store.folder(key), self._folder(key)
        with _problems(self.url):
            if self.files.exists(f"{there}/{STAGE}"):
                return False
        if found := damages(folder, key):
            raise _damaged(found[0], str(folder), f"`pmbench store prune {key[:12]}` removes it")
        with _problems(self.url):
            self.files.makedirs(there, exist_ok=True)
            for path in sorted(folder.iterdir()):
                if _FILES.fullmatch(path.name):
                    self.files.put_file(str(path), f"{there}/{path.name}")
            part = f"{there}/{STAGE}.{uuid.uuid4().hex}.part"
            self.files.put_file(str(folder / STAGE), part)
            self.files.mv(part, f"{there}/{STAGE}")
        return True

    def pull(self, store: Store, key: str) -> bool:
        """Copies a stage from there into a store, once all its files have their digests.

        False if the store has it. Raises StoreError for a damaged stage, and for one that is in use here.
        """
        with store.lock(key) as mine:
            if not mine:
                raise StoreError(
                    f"stage {key[:12]} is in use in {store.root}", "try again when it is trained"
                )
            if store.whole(key):
                return False
            with _problems(self.url):
                found = self.files.ls(self._folder(key), detail=True)
            files = {item["name"].split("/")[-1]: item for item in found}
            if (files.get(STAGE, {}).get("size") or 0) > LARGEST_JSON:
                raise _damaged(Damage(key, STAGE, "is too large"), self.url, _AGAIN)
            with folder_atomic(store.own(key)) as folder:
                with _problems(self.url):
                    for name in files:
                        if name == STAGE or _FILES.fullmatch(name):
                            self.files.get_file(f"{self._folder(key)}/{name}", str(folder / name))
                if bad := damages(folder, key):
                    raise _damaged(bad[0], self.url, _AGAIN)
            shutil.rmtree(store.work(key), ignore_errors=True)
        return True

    def _folder(self, key: str) -> str:
        return f"{self.path}/{key[:2]}/{key}"


_AGAIN = "nothing of it was stored; remove it there, and push it again from a store that has it"


def _damaged(damage: Damage, place: str, hint: str) -> StoreError:
    return StoreError(f"stage {damage.key[:12]} in {place} is damaged: {damage.file} {damage.reason}", hint)


@contextmanager
def _problems(url: str) -> Iterator[None]:
    """Names the address in whatever its library raises."""
    try:
        yield
    except PmbenchError:
        raise
    except Exception as error:  # each library raises its own types
        raise StoreError(
            f"{url}: {type(error).__name__}: {error}",
            "check address, rights and network; what was copied is kept, and the same command goes on",
        ) from error
