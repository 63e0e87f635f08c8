"""Contract checks of data sets: declarations, prepared form, protocols."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..contracts.dataset import Dataset
from ..contracts.samples import AugmentRng
from ..data.access import only
from ..data.frames import FramesColumn
from ..data.prepare import prepare
from ..data.prepared import Prepared, open_prepared
from ..errors import DataNotPrepared
from ..plugins import Registry
from ..training.samples import training_view
from .outcome import Failed, Skipped


class Sample:
    """A data set, prepared once: from `data` if it is prepared there, else in `folder` from its source."""

    def __init__(self, dataset: Dataset, registry: Registry, folder: Path, data: Path | None) -> None:
        self.dataset, self.registry, self.folder, self.data = dataset, registry, folder, data

    @property
    def source(self) -> Path:
        found = self.dataset.find_source()
        if found is None:
            raise Skipped("its official files are not on this machine")
        return found

    @cached_property
    def _prepared(self) -> Prepared | None:
        if self.data is not None:
            try:
                return open_prepared(self.dataset, self.data)
            except DataNotPrepared:
                pass
        found = self.dataset.find_source()
        return prepare(self.dataset, found, self.folder / "first") if found else None

    @property
    def prepared(self) -> Prepared:
        if self._prepared is None:
            raise Skipped("it is neither prepared nor embedded")
        return self._prepared

    @property
    def parts(self) -> list[str]:
        """Parts with samples."""
        return [name for name, entry in self.prepared.manifest["parts"].items() if entry["count"]]


def check_declarations_are_complete(sample: Sample) -> None:
    """Name, classes, modalities, setting, metrics, backbones, licence, source and citation are declared."""
    d = sample.dataset
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*(/[\w.-]+|:demo)?", d.name):
        raise Failed(f"name {d.name!r}: expected lower-case letters, digits, '-', '_' and '.'")
    for what in ("summary", "licence", "source", "citation"):
        if not str(getattr(d, what, "")).strip():
            raise Failed(f"`{what}` is empty")
    if not d.modalities and d.takes_names:
        raise Skipped("its classes and modalities are declared by its data")
    if len(set(d.classes)) != len(d.classes) or len(d.classes) < 2:
        raise Failed(f"classes {d.classes}: expected at least two, each once")
    names, kinds = [m.name for m in d.modalities], sample.registry.names("modality_kind")
    for m in d.modalities:
        if m.kind not in kinds or names.count(m.name) > 1 or not m.unit:
            raise Failed(
                f"modality {m.name!r}: kind {m.kind!r}, unit {m.unit!r}; expected one of {', '.join(kinds)}"
            )
        backbone = sample.registry.backbone(d.backbones.get(m.name, f"(none for {m.name})"))
        if not backbone.accepts(m):
            raise Failed(f"backbone {backbone.name!r} does not take {m.name!r}, a {m.kind}")
    used = set(d.target) | set(d.privileged)
    if not d.target or set(d.target) & set(d.privileged) or used - set(names):
        raise Failed(
            f"target {d.target}, privileged {d.privileged}: expected different ones of {tuple(names)}"
        )
    if unknown := set(d.metrics) - set(sample.registry.names("metric")):
        raise Failed(f"metrics {sorted(unknown)} unknown")


def check_protocols_resolve(sample: Sample) -> None:
    """Every listed protocol resolves by its name and has that name."""
    d = sample.dataset
    for average, splits in d.averages.items():
        if unknown := sorted(set(splits) - set(d.splits)):
            raise Failed(f"average {average!r} is of {', '.join(unknown)}, expected splits of the data set")
        if average in d.splits or len(set(splits)) < 2:
            raise Failed(f"average {average!r} needs a name of its own and several splits")
    for name in [*d.protocol_names(), f"{d.default_split}+few-3", "few-3+privileged-50"]:
        protocol = d.protocol(name)
        again = d.protocol(protocol.name)
        if again != protocol:
            raise Failed(f"protocol {name!r} has the name {protocol.name!r} of another protocol")
        if name in d.protocol_names() and protocol.name != name:
            raise Failed(f"protocol {name!r} is listed, but its name is {protocol.name!r}")


def check_ids_are_unique_and_disjoint(sample: Sample) -> None:
    """Ids are unique in a part, and training, validation and test parts of a split are disjoint."""
    ids = {part: sample.prepared.index(part)[0] for part in sample.parts}
    for part, names in ids.items():
        if len(set(names)) != len(names):
            raise Failed(f"part {part!r} has an id more than once")
    for name, split in sample.dataset.splits.items():
        for a, b in (
            (split.train, split.test),
            (split.validation, split.test),
            (split.train, split.validation),
        ):
            if a and b and (shared := {*sample.prepared.index(a)[0]} & {*sample.prepared.index(b)[0]}):
                raise Failed(f"split {name!r}: {min(shared)!r} is in both {a!r} and {b!r}")


def check_arrays_are_as_declared(sample: Sample) -> None:
    """Each part has one entry per sample of each modality, of the declared shape and finite if present."""
    for part in sample.parts:
        count = len(sample.prepared.index(part)[0])
        for m in sample.dataset.modalities:
            column = sample.prepared.column(part, m.name)
            if column.length != count:
                raise Failed(f"part {part!r}, {m.name!r}: {column.length} entries for {count} samples")
            for i in {0, count // 2, count - 1} if column.array is None else ():
                if (found := column.read(i).shape) != m.shape:
                    raise Failed(
                        f"part {part!r}, {m.name!r}: sample {i} has shape {found}; declared is {m.shape}"
                    )
            if column.array is None:
                continue
            if column.array.shape[1:] != m.shape or column.array.dtype.kind not in "fiu":
                text = f"{column.array.shape[1:]} of {column.array.dtype}"
                raise Failed(f"part {part!r}, {m.name!r}: {text}; declared are numbers of shape {m.shape}")
            rows = np.arange(count) if column.present is None else np.flatnonzero(column.present)
            chunks = np.array_split(rows, max(1, count // 1024))
            if not all(np.isfinite(column.array[chunk]).all() for chunk in chunks):
                raise Failed(f"part {part!r}, {m.name!r}: not all numbers are finite")


def check_aligned_modalities_stay_aligned(sample: Sample) -> None:
    """Modalities on one grid have the same crops and flips in training: all declare `flip` or none, and the
    ratios of stored to shown size are equal. Arrays are neither cropped nor flipped.
    """
    d = sample.dataset
    grids: dict[str, tuple[str, tuple[bool, float, float]]] = {}
    for m in d.modalities:
        column = sample.prepared.column(sample.parts[0], m.name)
        stored = column.frames.shape if isinstance(column, FramesColumn) else None
        done = (
            (bool(m.flip), stored[0] / m.shape[-2], stored[1] / m.shape[-1]) if stored else (False, 1.0, 1.0)
        )
        name, other = grids.setdefault(m.grid or m.name, (m.name, done))
        if done != other:
            raise Failed(
                f"{name!r} and {m.name!r} are on one grid, but their (flip, ratio of stored to shown height, "
                f"width) are {other} and {done}"
            )


def check_labels_are_in_range(sample: Sample) -> None:
    """Labels are -1 or a class; training parts have every class, test parts no unlabelled sample."""
    classes = len(sample.dataset.classes)
    for part in sample.parts:
        labels = sample.prepared.labels(part)
        if labels.min() < -1 or labels.max() >= classes:
            raise Failed(
                f"part {part!r}: labels from {labels.min()} to {labels.max()}, expected -1 to {classes - 1}"
            )
    for name, split in sample.dataset.splits.items():
        if (sample.prepared.labels(split.test) < 0).any():
            raise Failed(f"split {name!r}: the test part has samples without label")
        absent = set(range(classes)) - set(sample.prepared.labels(split.train).tolist())
        if absent:
            raise Failed(
                f"split {name!r}: no training sample of class {sample.dataset.classes[min(absent)]!r}"
            )


def check_expected_counts_are_declared(sample: Sample) -> None:
    """Every part has an expected count, alone or joined with others, and as many samples."""
    if sample.dataset.declaration is not None:
        raise Skipped("its parts are what the user's table says")
    expected = sample.dataset.expected
    counted = {part for names in expected for part in names.split("+")}
    if missing := [part for part in sample.parts if part not in counted]:
        raise Failed(f"`expected` has no count of part {missing[0]!r}")
    parts = sample.prepared.manifest["parts"]
    for names, count in expected.items():
        entries = [parts.get(part) for part in names.split("+")]
        found: Any = None
        if None not in entries:
            by_class = [sum(counts) for counts in zip(*(e["classes"] for e in entries), strict=True)]
            found = by_class if isinstance(count, tuple) else sum(e["count"] for e in entries)
        if found != (list(count) if isinstance(count, tuple) else count):
            raise Failed(f"part {names!r}: {found} samples, expected {count}")


def check_preparing_again_changes_nothing(sample: Sample) -> None:
    """Preparing a second time keeps the prepared form; preparing elsewhere gives the same bytes."""
    source, folder = sample.source, sample.folder
    first = prepare(sample.dataset, source, folder / "first")
    written = (first.folder / "manifest.json").stat().st_mtime_ns
    if (
        prepare(sample.dataset, source, folder / "first").folder / "manifest.json"
    ).stat().st_mtime_ns != written:
        raise Failed("preparing a second time wrote it again")
    if prepare(sample.dataset, source, folder / "second").fingerprint != first.fingerprint:
        raise Failed("preparing twice from one source gave different files")


def check_opens_only_what_is_asked(sample: Sample) -> None:
    """Reading one modality of a part opens one file."""
    d, prepared = sample.dataset, sample.prepared
    for part in sample.parts[:1]:
        for m in d.modalities:
            with only(
                f"data set {d.name!r}, reading {m.name!r}",
                [prepared.folder],
                prepared.files(part, (m.name,)),
            ):
                prepared.column(part, m.name).read(0)
                d.modality(m.name), d.protocol(d.default_protocol)


def check_validation_data_is_apart(sample: Sample) -> None:
    """Every split has labelled training and validation samples, which are disjoint."""
    d = sample.dataset
    for name in d.splits:
        view = training_view(sample.prepared, d.protocol(name), seed=0)
        if not len(view.validation.rows) or not (view.train.labels >= 0).any():
            raise Failed(
                f"split {name!r}: {view.count} training, {len(view.validation.rows)} validation samples"
            )
        same = view.train.part == view.validation.part
        if same and set(view.train.rows) & set(view.validation.rows):
            raise Failed(f"split {name!r}: a sample is in both training and validation data")


class _Fixed(AugmentRng):
    def __call__(self, name: str) -> object:  # type: ignore[override]
        import torch

        from ..seeding import derive

        return torch.rand(4, generator=torch.Generator().manual_seed(derive(0, name)))


def check_augmentation_follows_its_draws(sample: Sample) -> None:
    """Augmented samples keep their shape and depend on the rng alone, not on other modalities."""
    import torch

    d = sample.dataset
    if not d.augments:
        raise Skipped("it has no augmentation")
    part = d.protocol(d.default_protocol).split.train
    columns = {m.name: sample.prepared.column(part, m.name) for m in d.modalities}
    batch = {n: torch.from_numpy(np.stack([c.read(i) for i in range(4)])).float() for n, c in columns.items()}
    together = d.augment({n: t.clone() for n, t in batch.items()}, _Fixed())
    for name, tensor in batch.items():
        alone = d.augment({name: tensor.clone()}, _Fixed())[name]
        if alone.shape != tensor.shape or alone.dtype != tensor.dtype:
            raise Failed(f"augmented {name!r} is {tuple(alone.shape)} of {alone.dtype}")
        if not torch.equal(alone, together[name]):
            raise Failed(f"augmentation of {name!r} changes if other modalities are read too")


CHECKS = (
    check_declarations_are_complete,
    check_protocols_resolve,
    check_ids_are_unique_and_disjoint,
    check_arrays_are_as_declared,
    check_aligned_modalities_stay_aligned,
    check_labels_are_in_range,
    check_expected_counts_are_declared,
    check_preparing_again_changes_nothing,
    check_opens_only_what_is_asked,
    check_validation_data_is_apart,
    check_augmentation_follows_its_draws,
)
