"""The network of the partially shared stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

import pmbench as pm


class PartiallySharedNetwork(nn.Module):
    """Branches of equal blocks, one for each modality, beside a shared branch: batch -> Output.

    At block l, with X_m the map of branch m and S that of the shared branch (none at the first block):

        F = sum_m X_m + S           goes to the next block of the shared branch
        X_m + S                     goes to the next block of branch m

    The maps of the Output are F from the second block on, its pooled vector is that of the last F.
    `shared` gives the blocks but the first and the pool; `axes` are those of a map's grid. `heads`: the one
    of F, then one for each branch.
    """

    def __init__(
        self, branches: Mapping[str, pm.Encoder], shared: pm.Encoder, heads: Sequence[pm.Head], axes: int
    ) -> None:
        super().__init__()
        self.stems = nn.ModuleDict({m: branch.stem for m, branch in branches.items()})
        self.branches = nn.ModuleDict({m: branch.blocks for m, branch in branches.items()})
        self.shared = nn.ModuleList(list(shared.blocks)[1:])
        self.pool = shared.pool
        self.head, *own = heads
        self.heads = nn.ModuleDict(dict(zip(branches, own, strict=True)))
        self.axes = axes

    def forward(self, batch: Mapping[str, Tensor]) -> pm.Output:
        return self.parts(batch)[0]

    def parts(self, batch: Mapping[str, Tensor]) -> tuple[pm.Output, dict[str, Tensor]]:
        """The Output, and the logits (B, K) of each branch."""
        own = {m: blocks[0](self.stems[m](batch[m])) for m, blocks in self.branches.items()}
        fed, fused, maps = own, sum(own.values()), []
        for level, block in enumerate(self.shared, 1):
            shared = block(fused)
            own = {m: blocks[level](fed[m]) for m, blocks in self.branches.items()}
            fused = sum(own.values()) + shared
            fed = {m: x + shared for m, x in own.items()}
            maps.append(fused if fused.dim() == self.axes + 2 else fused.flatten(2))
        pooled = self.pool(fused)
        logits = {m: self.heads[m](self.pool(x)) for m, x in own.items()}
        return pm.Output(self.head(pooled), pooled, tuple(maps)), logits
