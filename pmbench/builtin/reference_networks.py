"""Networks that only reference rows need."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

import pmbench as pm


class MeanFilled(nn.Module):
    """A multimodal network that sees `target` and zeros (B, *shape) in place of every other modality."""

    def __init__(
        self, network: nn.Module, target: tuple[str, ...], missing: Mapping[str, tuple[int, ...]]
    ) -> None:
        super().__init__()
        self.network = network
        self.target = target
        self.missing = dict(missing)

    def forward(self, batch: Mapping[str, Tensor]) -> pm.Output:
        seen = {m: batch[m] for m in self.target}
        first = seen[self.target[0]]
        filled = {m: first.new_zeros((first.shape[0], *shape)) for m, shape in self.missing.items()}
        return self.network({**seen, **filled})
