"""Pretrained weights: fetched by name or read from a file, kept by the digest of their tensors."""

from __future__ import annotations

import hashlib
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from ..contracts.backbone import Backbone, Weights
from ..contracts.dataset import Dataset
from ..contracts.samples import Download
from ..data.download import fetch
from ..errors import DataError, StoreError, UnknownName, UsageError
from ..files import explain, write_atomic, write_json
from ..seeding import torch_seeded
from ..store.keys import ENGINE_VERSION, backbone_identity, canonical
from ..store.keys import digest as value_digest
from ..store.store import DOWNLOAD, Store

if TYPE_CHECKING:
    from torch import Tensor, nn

Tensors = Mapping[str, "Tensor"]

NONE = ("", "none")
FILES = (".safetensors", ".pth", ".pt", ".pyth")
_INSIDE = ("state_dict", "model_state", "model_state_dict", "model")
"""Where checkpoints of common libraries keep their tensors."""
_SHOWN = 5


def choose_weights(
    text: str, dataset: Dataset, backbones: Mapping[str, Backbone], store: Store
) -> dict[str, Weights]:
    """Modality -> weights, fetched, checked against its encoder, and kept in the store.

    `text`: `none`; one name, for every modality whose backbone offers it; one file, for all; or
    `modality=name,modality=file`. Raises UsageError for what is unknown, out of reach or does not fit.
    """
    if text in NONE:
        return {}
    if "=" in text and not _is_file(text):
        asked = dict(_pair(part, dataset) for part in text.split(","))
    elif _is_file(text):
        asked = dict.fromkeys(backbones, text)
    else:
        takers = [m for m, b in backbones.items() if b.pretrained and text in b.pretrained.urls]
        if not takers:
            known = {n for b in backbones.values() if b.pretrained for n in b.pretrained.urls}
            names = " or ".join(dict.fromkeys(b.name for b in backbones.values()))
            raise UnknownName(f"weights of {names}", text, known, _HINT)
        asked = dict.fromkeys(takers, text)
    return {
        modality: _chosen(name, dataset, modality, backbones[modality], store)
        for modality, name in asked.items()
        if name not in NONE
    }


_HINT = "--weights takes a name (`pmbench show BACKBONE` lists them), none, or a .safetensors or .pth file"


def _is_file(text: str) -> bool:
    return text.endswith(FILES) and "," not in text and ("=" not in text or Path(text).is_file())


def _pair(part: str, dataset: Dataset) -> tuple[str, str]:
    modality, equals, name = part.partition("=")
    if not equals:
        raise UsageError(f"--weights {part}: expected modality=name,modality=name", _HINT)
    return dataset.modality(modality).name, name


def _chosen(name: str, dataset: Dataset, modality: str, backbone: Backbone, store: Store) -> Weights:
    library = Library(store.pretrained)
    takes = dataset.modality(modality)
    with torch_seeded(0, "check"):
        encoder = backbone.build(takes, backbone.size)
    urls = backbone.pretrained.urls if backbone.pretrained else {}
    if name in urls:
        weights, tensors = library.fetched(name, backbone, encoder)
    elif name.endswith(FILES):
        tensors = _named(_read(Path(name)), backbone, encoder)
        weights = Weights(Path(name).stem, tensors_digest(tensors))
    else:
        raise UnknownName(f"weights of {backbone.name}", name, urls, _HINT)
    fill(encoder, tensors, backbone, takes.channels, weights.name)
    library.keep(weights, tensors)
    return weights


@dataclass(frozen=True)
class Library:
    """A folder of pretrained weights, in the encoders' own names: one file for each digest."""

    root: Path

    def path(self, digest: str) -> Path:
        return self.root / f"{digest}.safetensors"

    def keep(self, weights: Weights, tensors: Tensors) -> None:
        from safetensors.torch import save_file

        path = self.path(weights.digest)
        if not path.is_file():
            plain = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
            write_atomic(path, lambda temporary: save_file(plain, temporary))

    def load(self, weights: Weights) -> dict[str, Tensor]:
        """Raises StoreError where the file is gone or damaged."""
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
        path.unlink(missing_ok=True)
        raise StoreError(
            f"pretrained weights {weights} in {path} cannot be used: {problem}",
            "the same command again fetches them anew",
        )

    def fetched(self, name: str, backbone: Backbone, encoder: nn.Module) -> tuple[Weights, Tensors]:
        """The weights that a backbone offers as `name`, downloaded unless they are in this folder.

        They are downloaded again when the backbone's code or one of its libraries changes, which may rename
        tensors.
        """
        assert backbone.pretrained is not None
        url = backbone.pretrained.urls[name]
        made_by = [backbone_identity(backbone), ENGINE_VERSION, url]
        known = self.root / "names" / f"{value_digest(made_by)}.json"
        known.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(known.with_suffix(".lock")):
            if (digest := _read_digest(known)) and self.path(digest).is_file():
                weights = Weights(name, digest)
                return weights, self.load(weights)
            suffix = Path(urllib.parse.urlsplit(url).path).suffix
            file = self.root / f"{DOWNLOAD}{known.stem[:12]}{suffix}"
            _download(name, backbone, url, file)
            try:
                tensors = _named(_read(file), backbone, encoder)
            finally:
                file.unlink()
            weights = Weights(name, tensors_digest(tensors))
            self.keep(weights, tensors)
            content = {"backbone": backbone.name, "name": name, "url": url, "digest": weights.digest}
            write_json(known, content)
            return weights, tensors


def _read_digest(path: Path) -> str:
    import json

    try:
        return json.loads(path.read_text(encoding="utf-8"))["digest"]
    except (OSError, ValueError, KeyError):
        return ""


def _download(name: str, backbone: Backbone, url: str, file: Path) -> None:
    """Fetches `url`. As in torch.hub, `-<hex digits>.` in its name is the beginning of the file's SHA-256."""
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
                lambda what, done, total: progress.update(
                    bar, description=what, completed=done, total=total or None
                ),
            )
    except DataError as error:
        raise UsageError(
            f"weights {name!r} of backbone {backbone.name!r}: {error.message}",
            "--weights none starts from random weights; or download that file on a machine with network "
            "access and give it as --weights FILE or --weights MODALITY=FILE (.safetensors, .pth)",
        ) from error
    except OSError as error:
        raise explain(error, file) from error


def _read(path: Path) -> Tensors:
    """The tensors of a .safetensors or .pth file; no pickle in it runs."""
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UsageError(f"weights {path}: there is no such file", _HINT) from error
    except Exception as error:  # whatever a damaged or foreign file makes the readers raise
        first = " ".join(str(error).split()).partition(". ")[0][:200]
        raise DataError(
            f"weights {path} cannot be read as tensors alone: {first}",
            "a .pth file may hold tensors and plain values, nothing else is unpickled; save its state dict "
            "as .safetensors where you trust it",
        ) from error
    for name in _INSIDE:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
            break
    if not isinstance(content, dict) or not content:
        raise DataError(f"weights {path} hold {type(content).__name__}, not tensors by name")
    tensors = {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}
    if len(tensors) < len(content):
        raise DataError(f"weights {path}: {next(n for n in content if n not in tensors)!r} is no tensor")
    return tensors


def _named(tensors: Tensors, backbone: Backbone, encoder: nn.Module) -> Tensors:
    """By the names of the encoder, which they may have already."""
    if backbone.pretrained is None or set(tensors) <= set(encoder.state_dict()):
        return dict(tensors)
    return dict(backbone.pretrained.convert(tensors))


def tensors_digest(tensors: Tensors) -> str:
    """SHA-256 over names, types, shapes and bytes, whatever the order and the format of the file."""
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
    """Puts pretrained tensors into an encoder, or into a tail that starts at block `start`.

    A layer that takes `channels` input channels, where the weights were made for others, gets their mean over
    input channels, times the ratio of the numbers: equal channels give what they gave. In a tail, where these
    channels are maps joined, it gets the weights for each map, divided by their number: equal maps give what
    one gave. Raises UsageError that names the layers that do not fit.
    """
    own = encoder.state_dict()
    if start:
        tensors = {_shifted(n, start): t for n, t in tensors.items() if not _before(n, start)}
        own = {n: t for n, t in own.items() if not n.startswith("stem.")}
    fresh = backbone.pretrained.fresh if backbone.pretrained else ""
    skipped = {n for n in own if n.endswith("num_batches_tracked") or (fresh and fresh in n)}
    fitted, misshapen = {}, []
    for name in own.keys() & tensors.keys():
        given, wanted = tensors[name], own[name]
        if given.shape != wanted.shape and given.dim() > 2 and wanted.shape[1:2] == (channels,):
            ratio = given.shape[1] / channels
            mean = given if start else given.mean(1, keepdim=True)
            given = mean.repeat(1, channels // mean.shape[1], *[1] * (given.dim() - 2)) * ratio
        if given.shape != wanted.shape:
            misshapen.append(f"{name} (file {tuple(given.shape)}, network {tuple(wanted.shape)})")
        fitted[name] = given
    problems = {
        "missing layers": sorted(own.keys() - tensors.keys() - skipped),
        "unexpected layers": sorted(tensors.keys() - own.keys()),
        "other shapes": sorted(misshapen),
    }
    if any(problems.values()):
        told = "; ".join(f"{what}: {_some(names)}" for what, names in problems.items() if names)
        raise UsageError(
            f"weights {source!r} do not fit backbone {backbone.name!r}; {told}",
            "--weights MODALITY=FILE gives a file to one modality; its tensors go by the names of the "
            "backbone's library or of the encoder",
        )
    encoder.load_state_dict(fitted, strict=False)


def _before(name: str, start: int) -> bool:
    place, _, rest = name.partition(".")
    return place == "stem" or (place == "blocks" and int(rest.partition(".")[0]) < start)


def _shifted(name: str, start: int) -> str:
    place, _, rest = name.partition(".")
    number, _, below = rest.partition(".")
    return f"blocks.{int(number) - start}.{below}" if place == "blocks" else name


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
