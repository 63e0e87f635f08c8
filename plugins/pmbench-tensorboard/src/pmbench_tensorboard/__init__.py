"""Event files of TensorBoard: curves of stages while they train, and a run for each cell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pmbench as pm

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_stages: dict[str, tuple[int, SummaryWriter]] = {}
"""Key of each stage that is being trained -> its last epoch, and its writer."""


@pm.hookimpl
def pmbench_epoch_finished(event: pm.Epoch) -> None:
    writer = _writer(event)
    for name, value in event.terms.items():
        writer.add_scalar(f"terms/{name}", value, event.epoch)
    if event.validation is not None:
        writer.add_scalar(f"validation/{event.metric}", event.validation, event.epoch)
    writer.add_scalar("seconds", event.seconds, event.epoch)
    writer.flush()
    if event.epoch == event.epochs:
        writer.close()
        del _stages[event.key]


def _writer(event: pm.Epoch) -> SummaryWriter:
    """The writer of a stage; a new one, which purges later epochs, if an epoch comes again."""
    from torch.utils.tensorboard import SummaryWriter

    last, writer = _stages.get(event.key, (0, None))
    if writer is None or event.epoch <= last:
        if writer is not None:
            writer.close()
        name = f"{event.stage}-{'+'.join(event.reads)}-{event.key[:8]}"
        folder = Path("stages", event.dataset, event.protocol, f"seed-{event.seed}", name)
        writer = SummaryWriter(str(folder), purge_step=event.epoch)
    _stages[event.key] = event.epoch, writer
    return writer


@pm.hookimpl
def pmbench_run_finished(record: Any) -> None:
    from torch.utils.tensorboard import SummaryWriter

    if record.status == "skipped":
        return
    cell = record.cell
    name = f"{cell.method}-{record.cell_key[:8]}"
    folder = Path("cells", cell.dataset, cell.protocol, f"seed-{cell.seed}", name)
    with SummaryWriter(str(folder)) as writer:
        writer.add_text("status", f"{record.status}: {record.reason}" if record.reason else record.status)
        if record.validation is not None:
            for term, values in record.validation.terms.items():
                for epoch, value in enumerate(values, 1):
                    writer.add_scalar(f"terms/{term}", value, epoch)
            for epoch, value in enumerate(record.validation.curve, 1):
                writer.add_scalar(f"validation/{record.validation.metric}", value, epoch)
        results = {f"test/{metric}": value for metric, value in record.metrics.items()}
        writer.add_hparams(cell.parameters, results, run_name=".")
