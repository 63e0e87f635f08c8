"""Sealing: exports a delivered network as a program whose only inputs are the test modalities."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor, nn

from ..contracts.batch import Batch
from ..contracts.modality import Modality
from ..contracts.stage import Stage
from ..errors import ContractError, PmbenchError, SealError
from ..networks.modules import Output
from ..store.keys import Context
from ..store.store import Store
from ..training.bench import delivered
from ..training.samples import ChannelStats, channel_stats_of
from .program import SAMPLES, check_archive

LARGE = 100_000
"""Numbers per sample above which a program is checked on three samples instead of seven."""


class _TestBatch(Batch):
    """A batch of test modalities; labels, index, epoch and progress raise SealError."""

    def __init__(self, tensors: Mapping[str, Tensor], stage: str) -> None:
        self._tensors, self._present, self._stage = tensors, {}, stage

    def _absent(self) -> NoReturn:
        raise SealError(
            f"the network that stage {self._stage!r} delivered reads labels, sample index or progress, "
            "which do not exist at test",
            "use the inputs alone: values learnt per sample cannot be applied to new samples",
        )

    labels = index = epoch = progress = property(_absent)

    def present(self, *modalities: str) -> Tensor:
        x = next(self[modality] for modality in modalities)
        return torch.ones(len(x), dtype=torch.bool, device=x.device)


class Sealable(nn.Module):
    """A delivered network with its input normalization: (B, *shape) for each input -> logits (B, K), pooled
    (B, D). Raises SealError unless the network returns an Output.
    """

    def __init__(
        self, network: nn.Module, inputs: Mapping[str, tuple[Modality, ChannelStats]], stage: str
    ) -> None:
        super().__init__()
        self.network = network
        self.inputs = tuple(inputs)
        self.stage = stage
        for name, (modality, stats) in inputs.items():
            mean, std = stats.shaped(len(modality.shape))
            self.register_buffer(f"mean_{name}", torch.from_numpy(mean))
            self.register_buffer(f"std_{name}", torch.from_numpy(std))

    def forward(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        batch = _TestBatch(
            {
                name: (x - getattr(self, f"mean_{name}")) / getattr(self, f"std_{name}")
                for name, x in zip(self.inputs, tensors, strict=True)
            },
            self.stage,
        )
        output = self.network(batch)
        if not isinstance(output, Output):
            raise SealError(
                f"the network that stage {self.stage!r} delivered returns {type(output).__name__}; "
                "the evaluator needs pm.Output(logits, pooled)"
            )
        return output.logits.float(), output.pooled.float()


def seal(stage: Stage, context: Context, store: Store, inputs: tuple[str, ...]) -> Path:
    """Path of the sealed program of a finished stage, exported, checked and added to the stage's folder.

    Raises SealError if the network needs more than its inputs, holds captured data, changes its own state,
    stays in training mode, or lets the samples of a batch influence each other.
    """
    key, name = context.key(stage), type(stage).__name__
    network = delivered(stage, context, store)
    for parameter in network.parameters():  # training may use another memory layout
        parameter.data = parameter.data.contiguous()
    stats = channel_stats_of(store.stage(key))
    missing = [m for m in inputs if m not in stats]
    if missing:
        raise SealError(
            f"stage {name!r} is to be tested on {', '.join(missing)}, which it does not read",
            "the last stage of a method must read every modality that its network uses at test",
        )
    sealable = Sealable(network, {m: (context.modality(m), stats[m]) for m in inputs}, name).eval()
    program = export(sealable, context, inputs)
    return store.put_program(key, inputs, lambda temporary: _save(program, temporary))


def export(sealable: Sealable, context: Context, inputs: tuple[str, ...]) -> torch.export.ExportedProgram:
    """The checked program of a network, for any batch size; raises SealError as `seal` does."""
    name = sealable.stage
    training = [n for n, m in sealable.named_modules() if m.training]
    if training:
        raise SealError(f"stage {name!r}: module {training[0]!r} stays in training mode after eval()")
    zeros = tuple(torch.zeros(2, *context.modality(m).shape) for m in inputs)
    before = {n: t.clone() for n, t in sealable.state_dict().items()}
    try:
        batch = torch.export.Dim("batch", min=1, max=1 << 20)
        with torch.no_grad():
            program = torch.export.export(
                sealable, zeros, dynamic_shapes=(tuple({0: batch} for _ in zeros),), strict=False
            )
    except (SealError, ContractError) as error:
        raise SealError(
            f"stage {name!r} cannot be sealed on ({', '.join(inputs)}): {error.message}", error.hint
        ) from error
    except PmbenchError:
        raise
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SealError(
            f"stage {name!r} cannot be exported as a program of ({', '.join(inputs)}) for every batch size: "
            f"{first}",
            "the network must be a function of its inputs; tensors kept from training have a fixed batch "
            "size",
        ) from error
    _no_captured_data(program, name)
    _no_random_numbers(program, name)
    if program.graph_signature.buffers_to_mutate:
        changed = next(iter(program.graph_signature.buffers_to_mutate.values()))
        raise SealError(
            f"stage {name!r}: evaluation changes buffer {changed!r} (batch norm in training mode?)"
        )
    _check_independent_samples(program, sealable, context, inputs)
    for key, value in sealable.state_dict().items():
        if not torch.equal(value, before[key]):
            raise SealError(f"stage {name!r}: evaluation changed {key!r}")
    return program


def _no_captured_data(program: torch.export.ExportedProgram, name: str) -> None:
    for constant, value in program.constants.items():
        if isinstance(value, Tensor) and value.numel() > 1:
            raise SealError(
                f"stage {name!r}: its program holds a captured tensor {constant!r} of shape "
                f"{tuple(value.shape)}, which is neither parameter nor buffer (data kept from training?)",
                "register constants as buffers of the network; never keep batches",
            )


def _no_random_numbers(program: torch.export.ExportedProgram, name: str) -> None:
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
                raise SealError(
                    f"stage {name!r}: its program draws random numbers ({node.target}), so a test cannot be "
                    "repeated",
                    "dropout and noise must be off in evaluation mode",
                )


def _check_independent_samples(
    program: torch.export.ExportedProgram, sealable: Sealable, context: Context, inputs: tuple[str, ...]
) -> None:
    """Raises SealError unless program and network agree, and logits do not depend on the other samples."""
    rng = torch.Generator().manual_seed(0)
    shapes = {m: context.modality(m).shape for m in inputs}
    count = 3 if max(map(math.prod, shapes.values())) > LARGE else 7
    batch = [
        torch.randn(count, *shape, generator=rng) * getattr(sealable, f"std_{m}")
        + getattr(sealable, f"mean_{m}")
        for m, shape in shapes.items()
    ]
    sealed = program.module()
    with torch.no_grad():
        batched = sealed(*batch)[0]
        eager = sealable(*batch)[0]
        single = torch.cat([sealed(*(x[i : i + 1] for x in batch))[0] for i in range(count)])
    scale = max(1.0, float(eager.abs().max()))
    if not torch.isfinite(eager).all():
        raise SealError(
            f"stage {sealable.stage!r}: logits are not finite on inputs of the training data's scale"
        )
    if float((batched - eager).abs().max()) > 1e-4 * scale:
        raise SealError(f"stage {sealable.stage!r}: the sealed program and the network give different logits")
    if (change := float((batched - single).abs().max())) > 1e-3 * scale:
        raise SealError(
            f"stage {sealable.stage!r}: a sample's logits change by {change:.3g} with the samples beside it "
            "(batch norm in training mode?)",
            "at test every sample must be classified independently",
        )


def _save(program: torch.export.ExportedProgram, path: Path) -> None:
    """Writes the program without example inputs and without references to source code."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)
                node.meta.pop("nn_module_stack", None)
                node.meta.pop("source_fn_stack", None)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    with zipfile.ZipFile(buffer) as full, zipfile.ZipFile(path, "w") as lean:
        for entry in full.infolist():
            # the loader requires this entry, and unpickles it unless it is empty
            content = b"" if SAMPLES in entry.filename else full.read(entry)
            lean.writestr(zipfile.ZipInfo(entry.filename), content)
    check_archive(path)
