"""Batches: the input of one training step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ..errors import ContractError

if TYPE_CHECKING:
    from torch import Tensor


class Batch(Mapping[str, "Tensor"]):
    """B samples of the modalities in a stage's `reads`; `batch["rgb"]` is (B, *shape), float32, normalized.

    `labels` (B,) holds class indices in [0, K), -1 for unlabelled samples. `index` (B,) is the position of
    each sample among the stage's `bench.num_train` training samples, for memory banks. `epoch` counts from
    0; `progress` in [0, 1) is the fraction of training steps done. Raises ContractError for undeclared
    modalities.
    """

    __slots__ = ("_present", "_stage", "_tensors", "epoch", "index", "labels", "progress")

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        labels: Tensor,
        index: Tensor,
        present: Mapping[str, Tensor] | None = None,
        *,
        epoch: int = 0,
        progress: float = 0.0,
        stage: str = "",
    ) -> None:
        self._tensors = tensors
        self._present = present or {}
        self._stage = stage
        self.labels = labels
        self.index = index
        self.epoch = epoch
        self.progress = progress

    def __getitem__(self, modality: str) -> Tensor:
        try:
            return self._tensors[modality]
        except KeyError:
            raise ContractError(
                f"stage {self._stage!r} read modality {modality!r}, which it does not declare; "
                f"its reads are ({', '.join(self._tensors)})",
                f"add {modality!r} to `reads`",
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __contains__(self, modality: object) -> bool:
        return modality in self._tensors

    @property
    def labelled(self) -> Tensor:
        """(B,) bool, True for samples with a label."""
        return self.labels >= 0

    def present(self, *modalities: str) -> Tensor:
        """(B,) bool, True for samples with all these modalities; absent ones hold zeros."""
        mask = self.labels == self.labels
        for modality in modalities:
            self[modality]
            if modality in self._present:
                mask = mask & self._present[modality]
        return mask
