"""The graph between the student and its teachers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

import pmbench as pm

NODE = 32
"""Numbers of a node that come from the logits, and as many from the features."""
SOFTNESS = 8.0
"""Temperature of the weights of edges."""


class Graph(nn.Module):
    """Weights of the edges from S teachers to the student, for every sample.

    z_m = [W1 logits_m, W2 features_m] (B, 64), e_j = W3 [z_student, z_j], weights = softmax over j of e / 8.
    W1 is shared by all networks, W2 by those whose features are equally wide.
    """

    def __init__(self, classes: int, own: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.logits = nn.Linear(classes, NODE)
        self.features = nn.ModuleDict({str(w): nn.Linear(w, NODE) for w in {own: 0, **dict.fromkeys(widths)}})
        self.edge = nn.Linear(4 * NODE, 1)
        self.adapters = nn.ModuleDict({str(w): nn.Linear(own, w) for w in dict.fromkeys(widths) if w != own})

    def forward(self, student: pm.Output, teachers: Sequence[pm.Output]) -> Tensor:
        """(B, S), rows that sum to 1; with gradient to the student."""
        own = self._node(student)
        pairs = [torch.cat([own, self._node(teacher)], 1) for teacher in teachers]
        return (torch.cat([self.edge(pair) for pair in pairs], 1) / SOFTNESS).softmax(1)

    def adapted(self, features: Tensor, width: int) -> Tensor:
        """The student's features (B, D), through a layer if a teacher's are `width` wide instead."""
        return self.adapters[str(width)](features) if str(width) in self.adapters else features

    def _node(self, output: pm.Output) -> Tensor:
        return torch.cat(
            [self.logits(output.logits), self.features[str(output.pooled.shape[1])](output.pooled)], 1
        )
