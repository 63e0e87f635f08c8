"""Backbones and pretrained weights of a request."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..contracts.backbone import Weights
from ..contracts.dataset import Dataset
from ..contracts.recipe import Setup
from ..errors import UsageError
from ..plugins import CORE, Registry
from ..plugins.excerpt import excerpt, loaded
from ..store.store import Store


def backbones_of(dataset: Dataset, text: str, setup: Setup, registry: Registry) -> dict[str, str]:
    """Modality -> backbone; `text` is a name for all modalities it accepts, or `m=name+m=name`.

    Modalities without one have that of the setup, or of the data set.
    """
    chosen = {**dataset.backbones, **setup.backbones}
    if not text:
        return chosen
    if "=" in text:
        for part in text.split("+"):
            modality, _, name = part.partition("=")
            found = registry.backbone(name)
            if not found.accepts(dataset.modality(modality)):
                raise UsageError(
                    f"backbone {name!r} takes {', '.join(sorted(found.kinds))}, but {modality!r} of "
                    f"{dataset.name} is "
                    f"a {dataset.modality(modality).kind}",
                    "`pmbench list backbones` shows what each accepts",
                )
            chosen[modality] = name
        return chosen
    found = registry.backbone(text)
    fitting = [m.name for m in dataset.modalities if found.accepts(m)]
    if not fitting:
        kinds = ", ".join(sorted({m.kind for m in dataset.modalities}))
        raise UsageError(
            f"backbone {text!r} takes {', '.join(sorted(found.kinds))}, data set {dataset.name!r} has "
            f"{kinds}",
            "`pmbench list backbones` shows what each accepts",
        )
    return chosen | dict.fromkeys(fitting, text)


def weights_of(
    text: str, setup: Setup, dataset: Dataset, names: Mapping[str, str], registry: Registry, store: Store
) -> dict[str, Weights]:
    """Modality -> pretrained weights of the backbones `names`: those of `text`; if it is empty, of the setup.

    The setup's weights belong to its own backbones; another backbone has none. Raises UsageError for weights
    that cannot be had.
    """
    if not text:
        usual = {**dataset.backbones, **setup.backbones}
        text = ",".join(f"{m}={w}" for m, w in setup.weights.items() if names[m] == usual[m])
    if text in ("", "none"):
        return {}
    options: dict[str, Any] = {
        "text": text,
        "dataset": dataset.name,
        "names": {m.name: names[m.name] for m in dataset.modalities},
        "store": str(store.root.resolve()),
        "shared": str(store.shared.resolve()) if store.shared else None,
    }
    used = sorted(set(options["names"].values()))
    owners = sorted({registry.offer("backbone", name).distribution for name in used})
    if registry.host is None or owners == [CORE]:
        found = weights_here(registry, **options)
    else:
        store.pretrained.mkdir(parents=True, exist_ok=True)
        files = [Path(part.rpartition("=")[2]) for part in [text, *text.split(",")]]
        found = registry.host.call(
            "pmbench.run.backbones:weights_here",
            owners,
            {**options, "plugins": excerpt(registry, {dataset.name: dataset}, used, ())},
            read=[
                *(file for file in files if file.is_file()),
                *([Store(store.shared.resolve()).pretrained] if store.shared else []),
            ],
            write=[store.pretrained],
            network=True,
            folder=Path.cwd(),
            limit=math.inf,
        )
    return {modality: Weights(str(name), str(digest)) for modality, (name, digest) in found.items()}


def weights_here(
    registry: Registry,
    text: str,
    dataset: str,
    names: Mapping[str, str],
    store: str,
    shared: str | None = None,
    plugins: Mapping[str, Any] | None = None,
) -> dict[str, list[str]]:
    """Modality -> name and digest of pretrained weights that `text` names, once they are stored."""
    from ..training.pretrained import choose_weights

    known = loaded(plugins, registry.distributions) if plugins else registry
    backbones = {modality: known.backbone(name) for modality, name in names.items()}
    opened = Store(Path(store), shared=Path(shared) if shared else None)
    found = choose_weights(text, known.dataset(dataset), backbones, opened)
    return {modality: [weights.name, weights.digest] for modality, weights in found.items()}
