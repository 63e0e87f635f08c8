"""Files of tensors with a checksum, so that a damaged one is never taken for a whole one."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Tensors = Mapping[str, "Tensor"]


def plain(tensors: Tensors) -> dict[str, Tensor]:
    """Copies on the CPU that share no memory."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def checksum(tensors: Tensors) -> str:
    """Checksum of names and bytes, to detect damaged checkpoints."""
    import torch

    total = 0
    for name in sorted(tensors):
        content = tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy()
        total = zlib.crc32(content.data, zlib.crc32(name.encode(), total))
    return f"{total:08x}"


def save(tensors: Tensors, path: Path) -> None:
    """Writes a safetensors file; raises OSError where it cannot."""
    _write(plain(tensors), path)


def save_checked(tensors: Tensors, path: Path, metadata: Mapping[str, str]) -> None:
    """Writes a file for `load_checked`; `metadata` comes with the tensors."""
    copies = plain(tensors)
    _write(copies, path, {**metadata, "sum": checksum(copies)})


def _write(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Writes a file; turns an error of safetensors about a failed write into the OSError behind it."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(tensors, path, metadata)
    except SafetensorError as error:
        text = str(error)
        code = 28 if "No space left" in text or "os error 28" in text else 5
        raise OSError(code, text, str(path)) from error


def load_checked(path: Path) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Tensors and metadata of a file with a checksum, or None if it is missing or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return (tensors, metadata) if metadata["sum"] == checksum(tensors) else None
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None
