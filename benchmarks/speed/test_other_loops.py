"""Training time of pmbench and of the same training by Lightning, torchdistill and mmengine.

`uv run --with lightning --with torchdistill --with mmengine pytest benchmarks/speed/test_other_loops.py -s`
"""

from __future__ import annotations

import importlib
import logging
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pytest_benchmark.fixture import BenchmarkFixture
from test_training import EPOCHS, HandWritten, alternate, planned, training_of
from torch import nn

from pmbench.run.worker import set_threads


class Batches:
    """The rows of each batch, epoch after epoch."""

    def __init__(self, order: Any) -> None:
        self.order, self.epoch = order, 0

    def __len__(self) -> int:
        return int(self.order.steps)

    def __iter__(self) -> Iterator[torch.Tensor]:
        self.epoch += 1
        return iter(torch.from_numpy(self.order.epoch(self.epoch - 1)))


class Logits(nn.Module):
    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, gyro: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network({"gyro": gyro}).logits
        return logits


class Lightning(HandWritten):
    """No logger, checkpoint or progress bar."""

    def __call__(self) -> None:
        lightning: Any = importlib.import_module("lightning")
        network, labels, inputs = Logits(self.network()), self.labels, self.inputs()
        steps = EPOCHS * self.order.steps

        class Module(lightning.LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.network = network

            def training_step(self, rows: torch.Tensor, place: int) -> torch.Tensor:
                return F.cross_entropy(self.network(inputs[rows]), labels[rows])

            def configure_optimizers(self) -> Any:
                optimizer = torch.optim.AdamW(self.parameters(), lr=1e-2)
                schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
                return {
                    "optimizer": optimizer,
                    "lr_scheduler": {"scheduler": schedule, "interval": "step"},
                }

        trainer = lightning.Trainer(
            max_epochs=EPOCHS,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(Module(), Batches(self.order))


class Torchdistill(HandWritten):
    """Its training box, configured, around the loop that its examples write by hand."""

    def __call__(self) -> None:
        training: Any = importlib.import_module("torchdistill.core.training")
        logging.getLogger("torchdistill").setLevel(logging.WARNING)
        inputs = self.inputs()
        term = {
            "criterion": {"key": "CrossEntropyLoss", "kwargs": {}},
            "criterion_wrapper": {
                "key": "SimpleLossWrapper",
                "kwargs": {
                    "input": {"is_from_teacher": False, "module_path": ".", "io": "output"},
                    "target": {"uses_label": True},
                },
            },
            "weight": 1.0,
        }
        config = {
            "num_epochs": EPOCHS,
            "model": {"forward_proc": "forward_batch_only"},
            "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": {"ce": term}}},
            "optimizer": {"key": "AdamW", "kwargs": {"lr": 1e-2}},
            "scheduler": {
                "key": "CosineAnnealingLR",
                "kwargs": {"T_max": EPOCHS * self.order.steps},
                "scheduling_step": 1,
            },
        }
        cpu = torch.device("cpu")
        box = training.TrainingBox(Logits(self.network()), {}, config, cpu, None, False, 1)
        batches = Batches(self.order)
        box.train_data_loader = batches
        for epoch in range(EPOCHS):
            box.pre_epoch_process(epoch=epoch)
            for rows in batches:
                box.pre_forward_process()
                loss = box.forward_process(inputs[rows], self.labels[rows])
                box.post_forward_process(loss)
            box.post_epoch_process()


class Mmengine(HandWritten):
    """Its runner, with no hook but that of the schedule."""

    def __call__(self) -> None:
        runner: Any = importlib.import_module("mmengine.runner")
        base: Any = importlib.import_module("mmengine.model").BaseModel
        schedules: Any = importlib.import_module("mmengine.optim")
        network, inputs, labels = Logits(self.network()), self.inputs(), self.labels

        class Model(base):
            def __init__(self) -> None:
                super().__init__()
                self.network = network

            def forward(self, gyro: torch.Tensor, target: torch.Tensor, mode: str) -> dict[str, torch.Tensor]:
                return {"loss": F.cross_entropy(self.network(gyro), target)}

        class Rows(torch.utils.data.Dataset):
            def __getitem__(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
                return {"gyro": inputs[rows], "target": labels[rows]}

            def __len__(self) -> int:
                return len(labels)

        model, steps = Model(), EPOCHS * self.order.steps
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        with tempfile.TemporaryDirectory() as folder:
            runner.Runner(
                model=model,
                work_dir=folder,
                train_dataloader=torch.utils.data.DataLoader(
                    Rows(), batch_size=None, sampler=Batches(self.order)
                ),
                train_cfg={"by_epoch": True, "max_epochs": EPOCHS},
                optim_wrapper=schedules.OptimWrapper(optimizer),
                param_scheduler=schedules.CosineAnnealingLR(optimizer, T_max=steps, by_epoch=False),
                default_hooks=dict.fromkeys(
                    ("runtime_info", "timer", "sampler_seed", "logger", "checkpoint")
                ),
                log_level="WARNING",
                experiment_name=Path(folder).name,
            ).train()


@pytest.mark.parametrize(("width", "batch"), [(16, 64), (8, 16)])
@pytest.mark.parametrize("loop", [Lightning, Torchdistill, Mmengine])
def test_other_loop(
    loop: type[HandWritten],
    width: int,
    batch: int,
    data: Path,
    tmp_path: Path,
    benchmark: BenchmarkFixture,
) -> None:
    name = loop.__name__
    pytest.importorskip(name.lower(), reason=f"runs with `uv run --with {name.lower()}`")
    set_threads(1)
    cell = planned("few-10", width, batch, data, tmp_path)
    ours, theirs = training_of(cell, data, tmp_path), loop(cell, data)
    ours()
    theirs()
    our_times, their_times = alternate(ours, theirs)
    ratio = statistics.median(a / b for a, b in zip(our_times, their_times, strict=True))
    benchmark.extra_info[f"pmbench / {name}"] = round(ratio, 3)
    benchmark.pedantic(theirs, rounds=1)
    print(f"\ncnn1d-{width} batch {batch}: pmbench / {name} = {ratio:.2f}")
    assert ratio <= 1.05
