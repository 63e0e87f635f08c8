"""Where a stage is trained: Lightning Fabric gives device and process group, torch the precision."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError


@dataclass
class Accelerator:
    """One process's part of the device. `shard` is (rank, processes); the first one validates and writes."""

    fabric: Any
    device: torch.device
    shard: tuple[int, int]
    mixed: bool

    @property
    def first(self) -> bool:
        return self.shard[0] == 0

    def peak_memory(self) -> int | None:
        """Bytes of GPU memory that tensors took at most since the accelerator was made; None on a CPU."""
        return torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else None

    def autocast(self, on: bool = True) -> contextlib.AbstractContextManager[Any]:
        """Mixed precision inside, or none of it with `on=False`; nothing where the recipe asks for full
        precision. No bf16 copy of a weight is kept: it would outlive the step that moves the weight, and a
        second group's terms would meet the weights from before the first group's step.
        """
        if not self.mixed:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16, enabled=on, cache_enabled=False)

    def backward(self, loss: Tensor, parameters: Sequence[nn.Parameter]) -> None:
        """Adds the gradients of `loss` to those of `parameters`, to no others.

        They lie in memory as the parameters do, which fused optimisers take for granted; what
        `torch.autograd.grad` returns need not.
        """
        self.fabric.backward(loss, inputs=parameters)

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replaces gradients by their mean over all processes; a missing one counts as zero, and one that
        every process misses stays missing, so that no optimiser moves its parameter.

        They lie in memory as the parameters do, like those of `backward`.
        """
        if self.shard[1] == 1:
            return
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        found = gradients[0].new_tensor([p.grad is not None for p in parameters])
        pieces = [*(g.reshape(-1) for g in gradients), found]
        flat = self.fabric.all_reduce(torch.cat(pieces), reduce_op="mean")
        *means, shares = flat.split([piece.numel() for piece in pieces])
        for p, mean, share in zip(parameters, means, shares.tolist(), strict=True):
            p.grad = torch.empty_like(p).copy_(mean.view(p.shape)) if share else None

    def average_buffers(self, nets: nn.Module) -> None:
        """Gives all processes the buffers (batch-norm statistics) of the first."""
        if self.shard[1] > 1:
            for buffer in nets.buffers():
                torch.distributed.broadcast(buffer, 0)


def make_fabric(device: str, devices: int) -> Any:
    """A Fabric for `device` ("cpu", "cuda", "cuda:1"); raises UsageError where it is not there."""
    from lightning_fabric import Fabric

    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not (kind == "cuda" and number.isdecimal())):
        raise UsageError(f"unknown device {device!r}", "choose cpu, cuda or cuda:N")
    if number and devices > 1:
        raise UsageError(f"{devices} devices were asked for, but {device!r} is one", "use --device cuda")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {device!r} was asked for, but torch sees no GPU here", "use --device cpu")
    here = torch.cuda.device_count()
    if kind == "cuda" and max(devices, int(number or 0) + 1) > here:
        raise UsageError(
            f"{devices} of {device!r} asked for, but the GPUs here are cuda:0 to cuda:{here - 1}",
            "lower --devices, or choose another --device",
        )
    wanted: Any = [int(number)] if number else devices
    strategy = "ddp_spawn" if devices > 1 else "auto"
    return Fabric(accelerator=kind, devices=wanted, strategy=strategy)


def make_exact() -> None:
    """Has CUDA compute the same bits every time, and in full precision where full precision is asked for.

    Left to itself, a convolution of float32 numbers rounds them to the 10 bits of TF32.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS looks when it starts
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.use_deterministic_algorithms(True, warn_only=True)


@contextlib.contextmanager
def unrepeatable() -> Iterator[set[str]]:
    """Collects the operations inside that CUDA cannot repeat bit by bit, in place of torch's warnings."""
    found, show, mark = set[str](), warnings.showwarning, " does not have a deterministic implementation"

    def note(message: Any, *where: Any, **how: Any) -> None:
        operation, known, _ = str(message).partition(mark)
        if known:
            found.add(operation)
        else:
            show(message, *where, **how)

    with warnings.catch_warnings():
        warnings.filterwarnings("default", f".*{mark}")
        warnings.showwarning = note
        yield found


def accelerator(fabric: Any, mixed: bool) -> Accelerator:
    """This process's accelerator, once `fabric` is launched."""
    if fabric.device.type == "cuda":
        make_exact()
        torch.cuda.reset_peak_memory_stats(fabric.device)
    return Accelerator(fabric, fabric.device, (fabric.global_rank, fabric.world_size), mixed)
