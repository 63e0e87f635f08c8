"""What makes a stage the same stage: its key, computable before anything is trained."""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import _HOME_OF
from ..contracts.backbone import Backbone
from ..contracts.dataset import Dataset, Protocol
from ..contracts.recipe import Recipe
from ..contracts.setting import Modality
from ..contracts.stage import Stage
from ..errors import ContractError

_ENGINE = (
    "pmbench.contracts.batch",
    "pmbench.contracts.losses",
    "pmbench.contracts.network",
    "pmbench.contracts.recipe",
    "pmbench.contracts.samples",
    "pmbench.contracts.stage",
    "pmbench.engine.bench",
    "pmbench.engine.batches",
    "pmbench.engine.device",
    "pmbench.engine.draws",
    "pmbench.engine.frames",
    "pmbench.engine.prepared",
    "pmbench.engine.pretrained",
    "pmbench.engine.recipes",
    "pmbench.engine.steps",
    "pmbench.engine.trainer",
    "pmbench.engine.view",
    "pmbench.report.counts",
    "pmbench.report.metrics",
)


def canonical(value: Any) -> str:
    """JSON with sorted keys and no blanks; raises ContractError for what JSON cannot say exactly.

    Numbers that Python calls equal are written alike (4 and 4.0, 1 and True), so that equal stages have equal
    keys.
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


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests_of(
    fingerprint: Mapping[str, Mapping[str, str]], part: str, names: tuple[str, ...]
) -> dict[str, str]:
    """file -> SHA-256 of a part; of several parts "a+b", the digests joined in the same way."""
    return {name: "+".join(fingerprint[one][name] for one in part.split("+")) for name in names}


@functools.cache
def code_digest(module: str) -> str:
    """Digest of a module and the modules of its own distribution that it imports, comments and docstrings
    aside.

    The built-in stages behind public names that it uses (`pm.untrained`) count as imported.
    """
    seen: dict[str, str] = {}
    _collect(module, _family(module), seen)
    return digest(seen)


@functools.cache
def engine_digest() -> str:
    """Digest of the code that every stage runs through: trainer, batches, networks, losses."""
    return digest([_tree(name)[1] for name in _ENGINE])


def _family(module: str) -> str:
    """Imports below this name are followed; pmbench itself enters through `engine_digest`."""
    return "pmbench.builtin" if module.startswith("pmbench.") else module.partition(".")[0]


def _tree(module: str) -> tuple[ast.Module, str]:
    path = _source(module)
    if path is None:
        raise ContractError(f"the source of module {module!r} cannot be found, so it cannot be part of a key")
    tree = ast.parse(path.read_bytes(), str(path))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]
    return tree, hashlib.sha256(_written(tree).encode()).hexdigest()


def _written(node: Any) -> str:
    """The syntax tree as text. Unlike `ast.dump`, it is the same whether or not a version of Python knows an
    empty field.
    """
    if isinstance(node, ast.AST):
        fields = [f"{name}={_written(v)}" for name, v in ast.iter_fields(node) if v is not None and v != []]
        return f"{type(node).__name__}({','.join(fields)})"
    return f"[{','.join(map(_written, node))}]" if isinstance(node, list) else repr(node)


def _source(module: str) -> Path | None:
    """The module's file, found without importing it or its parents, which may need torch."""
    loaded = sys.modules.get(module)
    if loaded is not None:
        path = getattr(loaded, "__file__", None)
        return Path(path) if path and path.endswith(".py") else None
    top, *below = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None:
        return None
    if not below:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    for folder in spec.submodule_search_locations or ():
        base = Path(folder, *below)
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                return path
    return None


def _collect(module: str, family: str, seen: dict[str, str]) -> None:
    if module in seen:
        return
    tree, seen[module] = _tree(module)
    path = _source(module)
    package = module if path and path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
            if base == "pmbench":
                _collect_public([alias.name for alias in node.names], seen)
        elif isinstance(node, ast.Attribute):
            _collect_public([node.attr], seen)
        for name in names:
            if (name == family or name.startswith(family + ".")) and name != module and _source(name):
                _collect(name, family, seen)


def _collect_public(names: list[str], seen: dict[str, str]) -> None:
    for home in {_HOME_OF.get(name, "") for name in names}:
        if home.startswith("builtin."):
            _collect(f"pmbench.{home}", "pmbench.builtin", seen)


@dataclasses.dataclass(frozen=True)
class Context:
    """All that a stage's key depends on besides the stage: data, backbones, recipe, seed."""

    dataset: Dataset
    protocol: Protocol
    fingerprint: Mapping[str, Mapping[str, str]]
    backbones: Mapping[str, Backbone]
    recipe: Recipe
    seed: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "_keys", {})

    def modality(self, name: str) -> Modality:
        """A modality as networks see it under the protocol."""
        return self.protocol.seen(self.dataset.modality(name))

    def recipe_of(self, stage: Stage) -> Recipe:
        recipe = stage.recipe(self.recipe)
        return recipe if stage.trains else recipe.but(epochs=0)

    def key(self, stage: Stage) -> str:
        """The stage's key: 64 hex digits."""
        keys: dict[Stage, str] = self._keys  # type: ignore[attr-defined]
        list(stage.walk())  # raises where a field cannot be hashed
        if stage not in keys:
            keys[stage] = digest(self.inputs(stage))
        return keys[stage]

    def inputs(self, stage: Stage) -> dict[str, Any]:
        """Everything that the key of `stage` is the digest of."""
        kind = type(stage)
        split = self.protocol.split
        parts = [split.train] + ([split.validation] if split.validation else [])
        modalities = {name: self.modality(name) for name in stage.reads}
        return {
            "stage": f"{kind.__module__}:{kind.__qualname__}",
            "code": [
                code_digest(c.__module__) for c in kind.__mro__ if issubclass(c, Stage) and c is not Stage
            ],
            "fields": {f.name: self._value(getattr(stage, f.name)) for f in dataclasses.fields(stage)},
            "dataset": {
                "name": self.dataset.name,
                "version": self.dataset.version,
                "classes": len(self.dataset.classes),
                "code": code_digest(type(self.dataset).__module__) if self.dataset.augments else "",
                "files": {
                    part: digests_of(self.fingerprint, part, (*stage.reads, "labels", "index"))
                    for part in parts
                },
            },
            "protocol": self.protocol.identity(),
            "modalities": {
                name: {"kind": m.kind, "shape": m.shape, "grid": m.grid, "flip": m.flip}
                for name, m in modalities.items()
            },
            "backbones": {name: backbone_identity(self.backbones[name]) for name in stage.reads},
            "recipe": dataclasses.asdict(self.recipe_of(stage)),
            "selection": {"metric": self.protocol.metrics[0], "positive": self.dataset.positive_class},
            "seed": self.seed,
            "engine": engine_digest(),
        }

    def _value(self, value: Any) -> Any:
        if isinstance(value, Stage):
            return {"key": self.key(value)}
        if isinstance(value, tuple):
            return [self._value(v) for v in value]
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise ContractError(
            f"a stage field holds {value!r}; fields are plain values, tuples and stages, so that they can "
            "be keyed"
        )


def backbone_identity(backbone: Backbone) -> dict[str, Any]:
    """Name, size, code, pretrained weights and libraries of a backbone, as they enter keys."""
    versions = {name: _version(name, backbone) for name in backbone.libraries}
    return {
        "name": backbone.name,
        "size": backbone.size,
        "code": code_digest(home(backbone.build)),
        "weights": backbone.weights.digest if backbone.weights else None,
        **({"libraries": versions} if versions else {}),
    }


def home(function: Any) -> str:
    """The module that a function was written in, and not that of `functools.partial`."""
    while isinstance(function, functools.partial):
        function = function.func
    return function.__module__


def _version(library: str, backbone: Backbone) -> str:
    """Without its local part: `+cpu` and `+cu130` are one version of the code."""
    try:
        return importlib.metadata.version(library).partition("+")[0]
    except importlib.metadata.PackageNotFoundError as error:
        raise ContractError(
            f"backbone {backbone.name!r} is made of {library!r}, and no such distribution is installed",
            "`libraries` takes names as pip has them",
        ) from error
