"""Forges submissions: copies of an honest one, changed as somebody would who wants a better result."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import nn

from pmbench.errors import SealError
from pmbench.evaluation.seal import _save
from pmbench.files import file_digest
from pmbench.metrics.builtin import METRICS, evidence_of
from pmbench.report.packing import pack, unpack
from pmbench.report.record import Record
from pmbench.report.record_files import to_json

Content = dict[str, Any]


class Forger:
    """A copy of an honest submission, and what can be done to it."""

    def __init__(self, honest: Path, to: Path, name: str = "") -> None:
        self.folder = to / (name or honest.name)
        shutil.copytree(honest, self.folder)

    def path(self, row: str, seed: int = 0) -> Path:
        """The record of a row."""
        (found,) = [p for p in self.folder.glob("records/**/*.json") if p.name.startswith(f"{row}-") and
                    p.name.endswith(f"-s{seed}.json")]  # fmt: skip
        return found

    def read(self, row: str, seed: int = 0) -> Content:
        return json.loads(self.path(row, seed).read_text(encoding="utf-8"))

    def write(self, content: Content, row: str, seed: int = 0) -> None:
        """Writes a record as pmbench would, if it is valid; the plain JSON otherwise."""
        try:
            text = to_json(Record.model_validate_json(json.dumps(content)))
        except ValueError:
            text = json.dumps(content)
        self.path(row, seed).write_text(text, encoding="utf-8")

    def edit(self, change: Callable[[Content], None], row: str = "kd", seed: int = 0) -> None:
        content = self.read(row, seed)
        change(content)
        self.write(content, row, seed)

    def statement(self, old: str, new: str) -> None:
        path = self.folder / "submission.toml"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    # --- predictions ----------------------------------------------------------------------------------------

    def predictions(self, row: str = "kd", seed: int = 0) -> Path:
        return self.folder / "predictions" / f"{self.read(row, seed)['digests']['predictions']}.parquet"

    def labels(self, row: str = "kd", seed: int = 0) -> np.ndarray:
        samples = self.read(row, seed)["samples"]
        return unpack(samples["labels"], samples["count"])

    def logits(self, row: str = "kd", seed: int = 0) -> np.ndarray:
        column = pq.read_table(self.predictions(row, seed)).column("logits").combine_chunks()
        return column.flatten().to_numpy().reshape(len(column), -1).copy()

    def predict(
        self, logits: np.ndarray, row: str = "kd", seed: int = 0, ids: list[str] | None = None
    ) -> None:
        """Replaces the predictions of a row, its predicted classes, its metrics and its digest."""
        content, old = self.read(row, seed), self.predictions(row, seed)
        names = ids or pq.read_table(old).column("id").to_pylist()
        flat = pa.array(logits.astype(np.float32).reshape(-1))
        table = pa.table({"id": names, "logits": pa.FixedSizeListArray.from_arrays(flat, logits.shape[1])})
        old.unlink()
        pq.write_table(table, old, compression="zstd")
        digest = file_digest(old)
        old.rename(old.with_name(f"{digest}.parquet"))
        content["digests"]["predictions"] = digest
        evidence = evidence_of(self.labels(row, seed), logits, logits.shape[1])
        content["samples"]["predicted"] = pack(evidence.predicted)
        content["metrics"] = {name: float(METRICS[name].function(evidence)) for name in content["metrics"]}
        self.write(content, row, seed)

    # --- programs -------------------------------------------------------------------------------------------

    def program(self, row: str = "kd", seed: int = 0) -> Path:
        return self.folder / "programs" / f"{self.read(row, seed)['digests']['program']}.pt2"

    def replace_program(self, file: Path, row: str = "kd", seed: int = 0) -> None:
        """Puts another file in the place of a row's program, and its digest into the record."""
        content, old = self.read(row, seed), self.program(row, seed)
        digest = file_digest(file)
        if not (target := old.with_name(f"{digest}.pt2")).exists():
            shutil.copyfile(file, target)
        if old.stem != digest:
            old.unlink()
        content["digests"]["program"] = digest
        self.write(content, row, seed)

    def seal(self, network: nn.Module, inputs: int = 1, row: str = "kd", seed: int = 0) -> None:
        """Replaces the program of a row by that of a network, and counts its parameters and buffers."""
        program, file = exported(network, inputs), self.folder / "forged.pt2"
        with contextlib.suppress(SealError):  # raised once the file is there
            _save(program, file)
        self.replace_program(file, row, seed)
        file.unlink()

        def count(content: Content) -> None:
            content["cost"]["parameters"] = sum(p.numel() for p in program.parameters())
            content["cost"]["buffers"] = sum(b.numel() for b in program.buffers())
            content["cost"]["macs"] = 0

        self.edit(count, row, seed)


def exported(network: nn.Module, inputs: int) -> torch.export.ExportedProgram:
    zeros = tuple(torch.zeros(2, 50) for _ in range(inputs))
    batch = torch.export.Dim("batch", min=1, max=1 << 20)
    dynamic = (tuple({0: batch} for _ in zeros),)
    with torch.no_grad():
        return torch.export.export(Takes(network).eval(), zeros, dynamic_shapes=dynamic, strict=False)


class Takes(nn.Module):
    """A network behind the signature of sealed programs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.network(*tensors)
        return logits, logits


class Answers(nn.Module):
    """Finds a test sample by the sum of its numbers, and gives the stored answer."""

    def __init__(self, samples: np.ndarray, answers: np.ndarray, columns: int = 0) -> None:
        super().__init__()
        sums = torch.from_numpy(samples.astype(np.float32)).sum(1)
        table = torch.from_numpy(answers.astype(np.float32))
        if columns:  # padded, so that no axis is as long as the test part
            sums = nn.functional.pad(sums, (0, columns), value=1e9)
            table = nn.functional.pad(table, (0, 0, 0, columns))
        self.register_buffer("sums", sums)
        self.register_buffer("table", table)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        nearest = (x.sum(1, keepdim=True) - self.sums).abs().argmin(1)
        return self.table.index_select(0, nearest)


class Neighbours(nn.Module):
    """Logits that depend on the sample before, in batches of more than 40."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = x[:, :2]
        return logits + 0.3 * (logits.roll(1, 0) - logits)


class Privileged(nn.Module):
    """Takes the privileged modality, too."""

    def forward(self, x: torch.Tensor, privileged: torch.Tensor) -> torch.Tensor:
        return x[:, :2] + privileged[:, :2]


class Noise(nn.Module):
    """Draws random numbers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :2] + torch.rand_like(x[:, :2])
