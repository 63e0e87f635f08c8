"""Pretrained weights: fetched by name or read from a file, and stored under the digest of their tensors."""

from __future__ import annotations

import hashlib
import json
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from ..contracts.backbone import Backbone, Weights
from ..contracts.dataset import Dataset
from ..contracts.modality import Modality
from ..contracts.samples import Download
from ..data.download import fetch
from ..errors import DataError, StoreError, UnknownName, UsageError
from ..files import explain, write_atomic, write_json
from ..seeding import torch_seeded
from ..store.keys import ENGINE_VERSION, backbone_identity, canonical
from ..store.keys import digest as value_digest
from ..store.listing import DOWNLOAD
from ..store.store import Store

if TYPE_CHECKING:
    from torch import Tensor, nn

Tensors = Mapping[str, "Tensor"]

NONE = ("", "none")
FILES = (".safetensors", ".pth", ".pt", ".pyth")
_INSIDE = ("state_dict", "model_state", "model_state_dict", "model")
"""Entries of a checkpoint in which common libraries store the tensors."""
_SHOWN = 5
"""Largest number of layers that a message names."""
_HINT = "--weights takes a name (`pmbench show BACKBONE` lists them), none, or a .safetensors or .pth file"


def choose_weights(
    text: str, dataset: Dataset, backbones: Mapping[str, Backbone], store: Store
) -> dict[str, Weights]:
    """Modality -> weights, fetched, checked against the encoder and stored.

    `text` is `none`; a name, for every modality whose backbone offers it; a file, for all modalities; or
    `modality=name,modality=file`. Raises UsageError for a name that is unknown or cannot be fetched, and for
    tensors that do not fit; DataError for a file that is not readable as tensors.
    """
    if text in NONE:
        return {}
    if "=" in text and not _is_file(text):
        names = dict(_pair(part, dataset) for part in text.split(","))
    elif _is_file(text):
        names = dict.fromkeys(backbones, text)
    else:
        names = {m: text for m, b in backbones.items() if b.pretrained and text in b.pretrained.urls}
        if not names:
            known = {n for b in backbones.values() if b.pretrained for n in b.pretrained.urls}
            owners = " or ".join(dict.fromkeys(b.name for b in backbones.values()))
            raise UnknownName(f"weights of {owners}", text, known, _HINT)
    return {
        modality: _resolve(name, dataset.modality(modality), backbones[modality], store)
        for modality, name in names.items()
        if name not in NONE
    }


def _is_file(text: str) -> bool:
    return text.endswith(FILES) and "," not in text and ("=" not in text or Path(text).is_file())


def _pair(part: str, dataset: Dataset) -> tuple[str, str]:
    modality, equals, name = part.partition("=")
    if not equals:
        raise UsageError(f"--weights {part}: expected modality=name,modality=name", _HINT)
    return dataset.modality(modality).name, name


def _resolve(name: str, modality: Modality, backbone: Backbone, store: Store) -> Weights:
    """The weights of a name or file, checked against a backbone and stored."""
    library = Library.of(store)
    with torch_seeded(0, "check"):
        encoder = backbone.build(modality, backbone.size)
    urls = backbone.pretrained.urls if backbone.pretrained else {}
    if name in urls:
        weights, tensors = library.fetched(name, backbone, encoder)
    elif name.endswith(FILES):
        tensors = _named(_read(Path(name)), backbone, encoder)
        weights = Weights(Path(name).stem, tensors_digest(tensors))
    else:
        raise UnknownName(f"weights of {backbone.name}", name, urls, _HINT)
    fill(encoder, tensors, backbone, modality.channels, weights.name)
    library.keep(weights, tensors)
    return weights


@dataclass(frozen=True)
class Library:
    """A folder of pretrained weights under the encoders' tensor names: one file per digest.

    What is not here is looked up in the folder `shared`, in which nothing is written.
    """

    root: Path
    shared: Path | None = None

    @classmethod
    def of(cls, store: Store) -> Library:
        return cls(store.pretrained, Store(store.shared).pretrained if store.shared else None)

    def path(self, digest: str) -> Path:
        """The file with these tensors: in the shared folder if it is there alone."""
        own = self.root / f"{digest}.safetensors"
        theirs = self.shared / own.name if self.shared else own
        return theirs if theirs.is_file() and not own.is_file() else own

    def keep(self, weights: Weights, tensors: Tensors) -> None:
        """Stores the tensors unless a file has their digest."""
        from safetensors.torch import save_file

        path = self.path(weights.digest)
        if not path.is_file():
            plain = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
            write_atomic(path, lambda temporary: save_file(plain, temporary))

    def load(self, weights: Weights) -> dict[str, Tensor]:
        """The tensors by name; raises StoreError if they are missing or damaged, and deletes our file."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path = self.path(weights.digest)
        try:
            tensors = load_file(path)
            if tensors_digest(tensors) == weights.digest:
                return tensors
            problem = "has another digest"
        except (OSError, SafetensorError) as error:
            problem = str(error)
        if path.parent == self.root:
            path.unlink(missing_ok=True)
        raise StoreError(
            f"pretrained weights {weights} in {path} cannot be used: {problem}",
            "run the same command again to fetch them",
        )

    def fetched(self, name: str, backbone: Backbone, encoder: nn.Module) -> tuple[Weights, Tensors]:
        """The weights that a backbone offers as `name`, downloaded unless they are in this folder.

        A change of the backbone's code or of its libraries may rename tensors, so it repeats the download.
        """
        assert backbone.pretrained is not None
        url = backbone.pretrained.urls[name]
        identity = [backbone_identity(backbone), ENGINE_VERSION, url]
        entry = self.root / "names" / f"{value_digest(identity)}.json"
        entry.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(entry.with_suffix(".lock")):
            digest = _read_digest(entry)
            if not digest and self.shared:
                digest = _read_digest(self.shared / "names" / entry.name)
            if digest and self.path(digest).is_file():
                weights = Weights(name, digest)
                return weights, self.load(weights)
            suffix = Path(urllib.parse.urlsplit(url).path).suffix
            file = self.root / f"{DOWNLOAD}{entry.stem[:12]}{suffix}"
            _download(name, backbone, url, file)
            try:
                tensors = _named(_read(file), backbone, encoder)
            finally:
                file.unlink()
            weights = Weights(name, tensors_digest(tensors))
            self.keep(weights, tensors)
            content = {"backbone": backbone.name, "name": name, "url": url, "digest": weights.digest}
            write_json(entry, content)
            return weights, tensors


def _read_digest(path: Path) -> str:
    """The digest in an entry of `names`; empty if it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["digest"]
    except (OSError, ValueError, KeyError):
        return ""


def _download(name: str, backbone: Backbone, url: str, file: Path) -> None:
    """Downloads `url` to `file`; as in torch.hub, `-<hex digits>.` in its name starts the file's SHA-256."""
    from rich.console import Console
    from rich.progress import Progress

    digest = re.search(r"-([0-9a-f]{8,})\.", url)
    download = Download(url, name, sha256=digest[1] if digest else "")
    console = Console(stderr=True)
    try:
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            bar = progress.add_task("")
            fetch(
                download,
                file,
                lambda text, done, total: progress.update(
                    bar, description=text, completed=done, total=total or None
                ),
            )
    except DataError as error:
        raise UsageError(
            f"weights {name!r} of backbone {backbone.name!r}: {error.message}",
            "--weights none starts from random weights; or download the file on a machine with network "
            "access and pass it as --weights FILE or --weights MODALITY=FILE (.safetensors, .pth)",
        ) from error
    except OSError as error:
        raise explain(error, file) from error


def _read(path: Path) -> Tensors:
    """Tensors of a .safetensors or .pth file by name; pickled objects are not executed.

    Raises UsageError if the file is missing, DataError if it holds anything but tensors.
    """
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UsageError(f"weights {path}: the file does not exist", _HINT) from error
    except Exception as error:  # the readers raise many types for damaged or foreign files
        first = " ".join(str(error).split()).partition(". ")[0][:200]
        raise DataError(
            f"weights {path} cannot be read as tensors alone: {first}",
            "only tensors and plain values of a .pth file are unpickled; if you trust it, save its state "
            "dict as .safetensors",
        ) from error
    for name in _INSIDE:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
            break
    if not isinstance(content, dict) or not content:
        raise DataError(f"weights {path} hold {type(content).__name__}, not tensors by name")
    tensors = {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}
    if len(tensors) < len(content):
        raise DataError(f"weights {path}: {next(n for n in content if n not in tensors)!r} is not a tensor")
    return tensors


def _named(tensors: Tensors, backbone: Backbone, encoder: nn.Module) -> Tensors:
    """The tensors under the encoder's names, converted unless they have these names already."""
    if backbone.pretrained is None or set(tensors) <= set(encoder.state_dict()):
        return dict(tensors)
    return dict(backbone.pretrained.convert(tensors))


def tensors_digest(tensors: Tensors) -> str:
    """SHA-256 over names, dtypes, shapes and bytes; independent of the order and of the file format."""
    import torch

    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().contiguous()
        found.update(canonical([name, str(tensor.dtype), list(tensor.shape)]).encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def fill(
    encoder: nn.Module, tensors: Tensors, backbone: Backbone, channels: int, source: str, start: int = 0
) -> None:
    """Loads pretrained tensors into an encoder, or into a tail that starts at block `start`.

    A layer with `channels` input channels whose weights have another number gets their mean over input
    channels, scaled by the ratio of the numbers, so that equal channels give the same output as before. In a
    tail, whose input is several maps joined, each map gets the weights divided by the number of maps, so that
    equal maps give the output of one. Raises UsageError naming the layers that do not fit.
    """
    own = encoder.state_dict()
    if start:
        tensors = {_shifted(n, start): t for n, t in tensors.items() if not _before(n, start)}
        own = {n: t for n, t in own.items() if not n.startswith("stem.")}
    fresh = backbone.pretrained.fresh if backbone.pretrained else ""
    skipped = {n for n in own if n.endswith("num_batches_tracked") or (fresh and fresh in n)}
    fitted, misshapen = {}, []
    for name in own.keys() & tensors.keys():
        tensor, shape = tensors[name], own[name].shape
        if tensor.shape != shape and tensor.dim() > 2 and shape[1:2] == (channels,):
            ratio = tensor.shape[1] / channels
            mean = tensor if start else tensor.mean(1, keepdim=True)
            tensor = mean.repeat(1, channels // mean.shape[1], *[1] * (tensor.dim() - 2)) * ratio
        if tensor.shape != shape:
            misshapen.append(f"{name} (file {tuple(tensor.shape)}, network {tuple(shape)})")
        fitted[name] = tensor
    problems = {
        "missing layers": sorted(own.keys() - tensors.keys() - skipped),
        "unexpected layers": sorted(tensors.keys() - own.keys()),
        "other shapes": sorted(misshapen),
    }
    if any(problems.values()):
        summary = "; ".join(f"{problem}: {_some(names)}" for problem, names in problems.items() if names)
        raise UsageError(
            f"weights {source!r} do not fit backbone {backbone.name!r}; {summary}",
            "--weights MODALITY=FILE gives a file to one modality; its tensors have the names of the "
            "backbone's library or of the encoder",
        )
    encoder.load_state_dict(fitted, strict=False)


def _before(name: str, start: int) -> bool:
    """Whether a tensor belongs to the stem or to a block before `start`."""
    module, _, rest = name.partition(".")
    return module == "stem" or (module == "blocks" and int(rest.partition(".")[0]) < start)


def _shifted(name: str, start: int) -> str:
    """Name of an encoder's tensor in a tail that starts at block `start`."""
    module, _, rest = name.partition(".")
    number, _, below = rest.partition(".")
    return f"blocks.{int(number) - start}.{below}" if module == "blocks" else name


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
