"""Keys: the identity of a stage, computable before anything is trained."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..contracts.backbone import Backbone, Weights
from ..contracts.dataset import Dataset
from ..contracts.metric import Metric
from ..contracts.modality import Modality
from ..contracts.protocol import Protocol
from ..contracts.recipe import Recipe
from ..contracts.setting import Setting
from ..contracts.stage import Stage
from ..errors import ContractError, TrainingError
from ..plugins.facts import home
from .documents import StageDocument, recipe_of, write_stages
from .source import module_digest

if TYPE_CHECKING:
    from ..plugins import Registry

ENGINE_VERSION = 1
"""Version of what pmbench itself computes in training: data reading, batches, networks, losses, selection.

It is part of every key in place of the source of pmbench, so that a new message or a moved function changes
no key. `tests/golden/test_training.py` pins the numbers; raise this version to change them.
"""


def canonical(value: Any) -> str:
    """JSON with sorted keys and no blanks; raises ContractError for values that JSON cannot represent.

    Numbers that are equal in Python have the same text (4 and 4.0, 1 and True), so that equal stages have
    equal keys.
    """
    try:
        return json.dumps(_numbers(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ContractError(f"cannot be part of a key: {error}") from error


def _numbers(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _numbers(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers(v) for v in value]
    whole = isinstance(value, bool) or (isinstance(value, float) and value.is_integer())
    return int(value) if whole else value


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, in hex."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def digests_of(
    fingerprint: Mapping[str, Mapping[str, str]], part: str, names: tuple[str, ...]
) -> dict[str, str]:
    """File -> SHA-256 in a part; for parts joined as "a+b", the digests joined by "+"."""
    return {name: "+".join(fingerprint[one][name] for one in part.split("+")) for name in names}


@functools.cache
def code_digest(module: str) -> str:
    """Digest of a plugin's module and its imports; "" for pmbench, which has ENGINE_VERSION."""
    return "" if module.partition(".")[0] == "pmbench" else module_digest(module)


@dataclass(frozen=True)
class CellSpec:
    """A Context by names, to be sent to other processes.

    `backbones` has (modality, name) and `weights` (modality, weights) of the modalities of the setting, both
    sorted. `placebo`: "shuffle" or "noise" takes the place of the privileged modalities in training.
    """

    dataset: str
    protocol: str
    backbones: tuple[tuple[str, str], ...]
    recipe: Recipe
    seed: int
    weights: tuple[tuple[str, Weights], ...] = ()
    placebo: str = ""

    @property
    def but_seed(self) -> CellSpec:
        """The same with seed 0: what cells that differ in the seed alone have in common."""
        return dataclasses.replace(self, seed=0)

    def resolve(
        self, dataset: Dataset, fingerprint: Mapping[str, Mapping[str, str]], registry: Registry
    ) -> Context:
        """The context, with `dataset` as declared by its prepared form."""
        weights = dict(self.weights)
        backbones = {
            modality: dataclasses.replace(registry.backbone(name), weights=weights.get(modality))
            for modality, name in self.backbones
        }
        protocol = dataset.protocol(self.protocol)
        metrics = tuple(registry.metric(name) for name in protocol.metrics)
        return Context(
            dataset,
            protocol,
            fingerprint,
            backbones,
            self.recipe,
            self.seed,
            metrics,
            self.placebo,
            registry.backbone,
        )


def _no_other(name: str) -> Backbone:
    raise ContractError(f"backbone {name!r} is none of the modalities' own, and no others are known here")


@dataclass(frozen=True)
class Context:
    """Everything besides the stage that its key depends on: data, backbones, recipe, seed, primary metric.

    `metrics` are those of the protocol; the first is the primary metric, which selects the epoch. `named`
    gives the backbones that stages build besides those of their modalities, by name.
    """

    dataset: Dataset
    protocol: Protocol
    fingerprint: Mapping[str, Mapping[str, str]]
    backbones: Mapping[str, Backbone]
    recipe: Recipe
    seed: int
    metrics: tuple[Metric, ...]
    placebo: str = ""
    named: Callable[[str], Backbone] = field(default=_no_other, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_keys", {})

    @cached_property
    def setting(self) -> Setting:
        """The setting of the protocol, with the backbones chosen for its modalities."""
        target, privileged = self.protocol.target, self.protocol.privileged
        names = (*target, *privileged)
        return Setting(
            target,
            privileged,
            len(self.dataset.classes),
            {name: self.modality(name) for name in names},
            {name: self.backbones[name] for name in names},
            self.protocol.demands,
        )

    @property
    def training_parts(self) -> tuple[str, ...]:
        """The training part, and the official validation part if there is one."""
        split = self.protocol.split
        return (split.train, split.validation) if split.validation else (split.train,)

    def modality(self, name: str) -> Modality:
        """A modality with the shape that networks receive under the protocol."""
        return self.protocol.seen(self.dataset.modality(name))

    def recipe_of(self, stage: Stage) -> Recipe:
        return recipe_of(stage, self.recipe)

    def key(self, stage: Stage) -> str:
        """Key of the stage, 64 hex digits."""
        keys: dict[Stage, str] = self._keys  # type: ignore[attr-defined]
        walk = list(stage.walk())  # raises for a field that cannot be hashed
        if stage not in keys:
            keys.update(zip(walk, self.keys(write_stages(stage, self.recipe)), strict=True))
        return keys[stage]

    def keys(self, documents: Sequence[StageDocument]) -> list[str]:
        """Keys of the stages of a list of documents."""
        return self.keys_by_seed(documents)(self.seed)

    def keys_by_seed(self, documents: Sequence[StageDocument]) -> Callable[[int], list[str]]:
        """Seed -> keys of the stages of a list of documents, in this context but for the seed.

        What does not depend on the seed is put into words once, with marks for the seed and for the keys of
        the parents, which JSON has in no other place.
        """
        marks = [f"\0{place}" for place in range(len(documents))]
        texts = [canonical({**self.inputs(d, marks[:n]), "seed": "\0"}) for n, d in enumerate(documents)]
        written = [json.dumps(mark) for mark in marks]

        def keys(seed: int) -> list[str]:
            found: list[str] = []
            for document, text in zip(documents, texts, strict=True):
                text = text.replace('"\\u0000"', str(seed))
                for parent in document.parents:
                    text = text.replace(written[parent], f'"{found[parent]}"')
                found.append(hashlib.sha256(text.encode()).hexdigest())
            return found

        return keys

    def require_key(self, stage: Stage, key: str) -> None:
        """Raises TrainingError unless `stage` has this key under the current sources."""
        code_digest.cache_clear()
        found = dataclasses.replace(self)
        if found.key(stage) != key:
            name, module = type(stage).__name__, type(stage).__module__
            raise TrainingError(
                f"the source of {name} (module {module}), its data or a library changed while this run was "
                f"going on: its key is now {found.key(stage)[:12]}, the planned one is {key[:12]}",
                "run the same command again",
            )

    def inputs_of(self, stage: Stage) -> dict[str, Any]:
        """Everything that the key of `stage` is the digest of."""
        documents = write_stages(stage, self.recipe)
        return self.inputs(documents[-1], self.keys(documents[:-1]))

    def inputs(self, document: StageDocument, keys: Sequence[str]) -> dict[str, Any]:
        """Everything that the key of a stage is the digest of; `keys` are those of the documents before."""
        sources = [code_digest(module) for module in document.modules]
        return {
            "stage": document.name_in_keys,
            "code": [source for source in dict.fromkeys(sources) if source],
            "fields": {name: _identity(value, keys) for name, value in document.fields.items()},
            "dataset": {
                "name": self.dataset.name,
                "version": self.dataset.version,
                "classes": len(self.dataset.classes),
                "code": code_digest(self.dataset.module) if self.dataset.augments else "",
                "files": {
                    part: digests_of(self.fingerprint, part, (*document.reads, "labels", "index"))
                    for part in self.training_parts
                },
            },
            "protocol": self.protocol.identity(),
            "modalities": {
                m.name: {"kind": m.kind, "shape": m.shape, "grid": m.grid, "flip": m.flip}
                for m in map(self.modality, document.reads)
            },
            "backbones": {name: backbone_identity(self.backbones[name]) for name in document.reads},
            "recipe": dataclasses.asdict(document.recipe),
            "selection": self._selection(),
            "seed": self.seed,
            "engine": ENGINE_VERSION,
            **self._placebo(document),
            **self._corruption(document),
            **self._others(document),
        }

    def _placebo(self, document: StageDocument) -> dict[str, str]:
        """The placebo, for a stage that reads it; nothing otherwise, so that other keys are as without."""
        reads = self.placebo and not set(self.protocol.privileged).isdisjoint(document.reads)
        return {"placebo": self.placebo} if reads else {}

    def _corruption(self, document: StageDocument) -> dict[str, Any]:
        """What is wrong with modalities that it reads; nothing where nothing is."""
        found = {name: self.protocol.corruption_of(name) for name in document.reads}
        wrong = {name: dataclasses.asdict(one) for name, one in found.items() if one}
        return {"corruption": wrong} if wrong else {}

    def _others(self, document: StageDocument) -> dict[str, Any]:
        """The backbones that it names; nothing for a stage that names none."""
        found = {name: backbone_identity(self.named(name)) for name in document.backbones}
        return {"others": found} if found else {}

    def _selection(self) -> dict[str, Any]:
        metric = self.metrics[0]
        code = code_digest(home(metric.function))
        named = {"metric": metric.name, "positive": self.dataset.positive_class}
        return named | ({"code": code} if code else {})


def _identity(value: Any, keys: Sequence[str]) -> Any:
    """A value of a document as part of a key: options by their values, stages by their keys."""
    if isinstance(value, dict):
        if "stage" in value:
            return {"key": keys[value["stage"]]}
        return {name: _identity(inner, keys) for name, inner in value["fields"].items()}
    return [_identity(inner, keys) for inner in value] if isinstance(value, list) else value


def backbone_identity(backbone: Backbone) -> dict[str, Any]:
    """Name, size, code, pretrained weights and libraries of a backbone, for keys."""
    versions = {name: _version(name, backbone) for name in backbone.libraries}
    return {
        "name": backbone.name,
        "size": backbone.size,
        "code": code_digest(home(backbone.build)),
        "weights": backbone.weights.digest if backbone.weights else None,
        **({"libraries": versions} if versions else {}),
    }


def _version(library: str, backbone: Backbone) -> str:
    """Version without its local part: `+cpu` and `+cu130` have the same code."""
    try:
        return importlib.metadata.version(library).partition("+")[0]
    except importlib.metadata.PackageNotFoundError as error:
        raise ContractError(
            f"backbone {backbone.name!r} declares the library {library!r}, which is not installed",
            "`libraries` takes names of distributions, as in `pip install`",
        ) from error
