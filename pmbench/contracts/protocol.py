"""Protocols, and the grammar of their names."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..errors import UnknownName, UsageError
from .modality import Modality
from .samples import Corruption, Sampling

if TYPE_CHECKING:
    from .dataset import Dataset


@dataclass(frozen=True)
class Split:
    """An official split: the parts to train, validate and test on.

    "a+b" is part a followed by part b. Without an official `validation` part, whole groups are carved out of
    the training part: `validation_groups` if given, else about 15 % of it by a fixed hash; without groups
    15 % of each class. `unlabelled`: whether some training samples have no label.
    """

    train: str
    test: str
    validation: str | None = None
    validation_groups: tuple[str, ...] = ()
    unlabelled: bool = False


@dataclass(frozen=True)
class Protocol:
    """Split, setting, metrics and validation rule of a comparison.

    `labels_per_class` K: only K training samples of each class (drawn by seed) keep their label, as do K of
    each class in the validation data; the rest stay, paired and unlabelled. `paired_percent` P: only P % of
    the training samples (drawn by seed) have the privileged modalities. `corruption`: what is wrong with
    these.
    """

    name: str
    split_name: str
    split: Split
    target: tuple[str, ...]
    privileged: tuple[str, ...]
    metrics: tuple[str, ...]
    labels_per_class: int | None = None
    paired_percent: int = 100
    sampling: Sampling | None = None
    corruption: Corruption = field(default_factory=Corruption)

    def corruption_of(self, modality: str) -> Corruption | None:
        """What is wrong with a modality; None if nothing is."""
        wrong = modality in self.privileged and self.corruption != Corruption()
        return self.corruption if wrong else None

    def seen(self, modality: Modality) -> Modality:
        """The modality at the network's input: clips have `sampling.frames` frames."""
        if self.sampling is None or modality.kind != "clip":
            return modality
        channels, _, *grid = modality.shape
        return replace(modality, shape=(channels, self.sampling.frames, *grid))

    @property
    def demands(self) -> frozenset[str]:
        """What training samples may lack: "unlabelled", "unpaired"."""
        return frozenset(
            (["unlabelled"] if self.labels_per_class is not None or self.split.unlabelled else [])
            + (["unpaired"] if self.paired_percent < 100 else [])
        )

    def identity(self) -> dict[str, Any]:
        """Fields that determine the training samples; they enter every stage's key.

        Both directions share their streams, so the direction is left out. A corruption enters the keys of
        the stages that read what it changes.
        """
        thinned = {"paired_percent": self.paired_percent, "privileged": list(self.privileged)}
        return {
            "split": asdict(self.split),
            "labels_per_class": self.labels_per_class,
            **(thinned if self.paired_percent < 100 else {}),
            **({"sampling": asdict(self.sampling)} if self.sampling else {}),
        }


def parse_protocol(dataset: Dataset, name: str) -> Protocol:
    """The protocol called `name`: `<part>[+<part>...][@<modality>]`, a part being a split or one of KINDS.

    The default split is the first one. The canonical name has its parts in the order of KINDS, without
    defaults. Raises UnknownName, or UsageError for parts that contradict the data set.
    """
    body, at, direction = name.partition("@")
    splits: list[str] = []
    values: dict[str, list[str]] = {kind.pattern: [] for kind in KINDS}
    for part in [*body.split("+"), *([at + direction] if direction else [])]:
        if part in dataset.splits and not splits:
            splits.append(part)
            continue
        if part in dataset.averages:
            one = members(dataset, name)[0]
            raise UsageError(
                f"protocol {name!r} stands for {len(dataset.averages[part])} protocols, the mean of which is "
                f"reported; expected one of them, such as {one!r}"
            )
        kind, value = _kind_of(part)
        if kind is None and (number := re.fullmatch(rf"({'|'.join(_NUMBERS)})-([+-]?\d+)", part)):
            raise UsageError(
                f"protocol {name!r}: {part} is not possible; expected a number {_NUMBERS[number[1]]}"
            )
        if kind is None or value in values[kind.pattern] or (values[kind.pattern] and not kind.repeats):
            raise _unknown(dataset, name)
        values[kind.pattern].append(value)
    split = splits[0] if splits else dataset.default_split
    usual = dataset.target, dataset.privileged, dataset.metrics
    protocol = Protocol(name, split, dataset.splits[split], *usual, sampling=_usual_sampling(dataset))
    parts: list[str] = []
    for kind in KINDS:
        if values[kind.pattern]:
            protocol = kind.read(dataset, protocol, values[kind.pattern])
            parts += kind.write(dataset, protocol)
    if protocol.corruption.delay:
        _check_delay(dataset, protocol)
    if split != dataset.default_split or not parts or parts[0].startswith("@"):
        parts.insert(0, split)
    return replace(protocol, name="+".join(parts).replace("+@", "@"))


def members(dataset: Dataset, name: str) -> list[str]:
    """The protocols that a name stands for: those of the splits of an average, or the name itself."""
    body, at, direction = name.partition("@")
    parts = body.split("+")
    for place, part in enumerate(parts):
        if part in dataset.averages:
            both = [
                "+".join([*parts[:place], split, *parts[place + 1 :]]) for split in dataset.averages[part]
            ]
            return [f"{one}{at}{direction}" for one in both]
    return [name]


def averages_of(dataset: Dataset, protocol: Protocol) -> dict[str, list[str]]:
    """Name of each average that a protocol is part of -> its protocols: `5-fold+few-10` -> `few-10`, ..."""
    found = {}
    for average, splits in dataset.averages.items():
        if protocol.split_name in splits:
            body, at, direction = protocol.name.partition("@")
            others = [part for part in body.split("+") if part and part not in dataset.splits]
            name = "+".join([average, *others]) + at + direction
            found[name] = [parse_protocol(dataset, member).name for member in members(dataset, name)]
    return found


def with_sampling(dataset: Dataset, name: str, sampling: str) -> Protocol:
    """The protocol called `name`, with clips by `sampling` ("clip-16") unless `name` says how."""
    protocol = parse_protocol(dataset, name)
    if not sampling or protocol.sampling != _usual_sampling(dataset):
        return protocol
    body, at, direction = protocol.name.partition("@")
    return parse_protocol(dataset, f"{body}+{sampling}{at}{direction}")


def without_sampling(dataset: Dataset, protocol: Protocol) -> Protocol:
    """The protocol with the data set's usual sampling of clips."""
    body, at, direction = protocol.name.partition("@")
    parts = [part for part in body.split("+") if not re.fullmatch(SAMPLING, part)]
    return parse_protocol(dataset, f"{'+'.join(parts) or protocol.split_name}{at}{direction}")


@dataclass(frozen=True)
class PartKind:
    """One kind of part in protocol names. Group 1 of `pattern` is the part's value.

    `read(dataset, protocol, values)` applies the values of all parts of this kind, and
    `write(dataset, protocol)` renders them again, without defaults. `examples`
    go into the error for unknown names.
    """

    pattern: str
    read: Callable[[Dataset, Protocol, list[str]], Protocol]
    write: Callable[[Dataset, Protocol], list[str]]
    examples: Callable[[Dataset], list[str]] = lambda dataset: []
    repeats: bool = False


def _read_few(dataset: Dataset, protocol: Protocol, values: list[str]) -> Protocol:
    return replace(protocol, labels_per_class=int(values[0]))


def _read_paired(dataset: Dataset, protocol: Protocol, values: list[str]) -> Protocol:
    return replace(protocol, paired_percent=int(values[0]))


def _read_missing(dataset: Dataset, protocol: Protocol, values: list[str]) -> Protocol:
    if protocol.paired_percent < 100:
        raise UsageError(
            f"protocol {protocol.name!r}: privileged-{protocol.paired_percent} and missing-{values[0]} both "
            "say how many samples have the privileged modalities; drop one of them"
        )
    return replace(protocol, paired_percent=100 - int(values[0]))


def _read_noise(dataset: Dataset, protocol: Protocol, values: list[str]) -> Protocol:
    if not float(values[0]):
        raise UsageError(
            f"protocol {protocol.name!r}: noise-{values[0]} is not possible; "
            f"expected a number {_NUMBERS['noise']}"
        )
    return replace(protocol, corruption=replace(protocol.corruption, noise=float(values[0])))


def _read_delay(dataset: Dataset, protocol: Protocol, values: list[str]) -> Protocol:
    return replace(protocol, corruption=replace(protocol.corruption, delay=int(values[0])))


def _check_delay(dataset: Dataset, protocol: Protocol) -> None:
    """Raises UsageError if a privileged modality has no time axis, or one as short as the delay."""
    for modality in (protocol.seen(dataset.modality(name)) for name in protocol.privileged):
        frames = modality.shape[1] if modality.kind in ("sequence", "clip") else 0
        if frames <= protocol.corruption.delay:
            has = f"has {frames} frames" if frames else f"is of kind {modality.kind}, without a time axis"
            raise UsageError(
                f"protocol {protocol.name!r}: {modality.name!r} {has}; "
                f"delay-{protocol.corruption.delay} needs more than {protocol.corruption.delay}"
            )


def _read_privileged(dataset: Dataset, protocol: Protocol, values: list[str]) -> Protocol:
    for modality in values:
        dataset.modality(modality)
        if modality in dataset.target:
            raise UsageError(
                f"protocol {protocol.name!r}: {modality!r} is the target modality; drop 'with-{modality}', "
                "or swap the direction with '@<modality>'"
            )
    if set(values) == set(dataset.privileged):
        return protocol
    chosen = tuple(m for m in _candidates(dataset) if m in values)
    return replace(protocol, privileged=chosen)


def _write_privileged(dataset: Dataset, protocol: Protocol) -> list[str]:
    usual = protocol.privileged == dataset.privileged
    return [] if usual else [f"with-{modality}" for modality in protocol.privileged]


def _read_sampling(dataset: Dataset, protocol: Protocol, values: list[str]) -> Protocol:
    usual = _usual_sampling(dataset)
    if usual is None:
        raise _unknown(dataset, protocol.name)
    way, _, frames = values[0].partition("-")
    sampling = replace(usual, frames=int(frames), even=way == "even")
    return replace(protocol, sampling=sampling)


def _write_sampling(dataset: Dataset, protocol: Protocol) -> list[str]:
    sampling = protocol.sampling
    if sampling is None or sampling == _usual_sampling(dataset):
        return []
    return [f"{'even' if sampling.even else 'clip'}-{sampling.frames}"]


def _read_direction(dataset: Dataset, protocol: Protocol, values: list[str]) -> Protocol:
    (modality,) = values
    dataset.modality(modality)
    if modality in dataset.target:
        raise UsageError(
            f"protocol {protocol.name!r}: {modality!r} is the target modality already; drop '@{modality}'"
        )
    privileged = (*dataset.target, *(m for m in protocol.privileged if m != modality))
    return replace(protocol, target=(modality,), privileged=privileged)


_NUMBERS = {
    "few": "of 1 or more",
    "privileged": "from 1 to 99",
    "missing": "from 1 to 99",
    "noise": "above 0 and below 1000",
    "delay": "of 1 or more",
}
"""Kinds of parts with a number, and which numbers they take."""
SAMPLING = r"((?:clip|even)-[1-9]\d*)"
KINDS = (
    # few-K: K labelled training samples of each class
    PartKind(r"few-([1-9]\d*)", _read_few, lambda _, p: [f"few-{p.labels_per_class}"]),
    # privileged-P: P % of the training samples have the privileged modalities
    PartKind(
        r"privileged-(0*[1-9]\d?)",
        _read_paired,
        lambda _, p: [f"privileged-{p.paired_percent}"],
        lambda _: ["privileged-50"],
    ),
    # missing-P: P % of the training samples lack the privileged modalities, as privileged-(100 - P)
    PartKind(r"missing-(0*[1-9]\d?)", _read_missing, lambda _, p: [f"privileged-{p.paired_percent}"]),
    # noise-S: the privileged modalities have normal noise of S stds of each channel
    PartKind(
        r"noise-(\d{1,3}(?:\.\d{1,3})?)",
        _read_noise,
        lambda _, p: [f"noise-{p.corruption.noise:g}"],
        lambda _: ["noise-1"],
    ),
    # delay-N: the privileged modalities come N frames late
    PartKind(r"delay-([1-9]\d*)", _read_delay, lambda _, p: [f"delay-{p.corruption.delay}"]),
    # with-M: modality M is privileged instead of the usual ones; several parts make several privileged
    PartKind(
        r"with-(.*)",
        _read_privileged,
        _write_privileged,
        lambda dataset: [f"with-{m}" for m in _candidates(dataset)],
        repeats=True,
    ),
    # clip-F: F consecutive frames of a recording; even-F: F frames spread over it
    PartKind(
        SAMPLING,
        _read_sampling,
        _write_sampling,
        lambda dataset: ["clip-16", "even-5"] if _usual_sampling(dataset) else [],
    ),
    # @M: test on modality M; the usual target modalities become privileged. The last one, as a suffix.
    PartKind(r"@(.*)", _read_direction, lambda _, p: [f"@{p.target[0]}"]),
)
"""Kinds of parts besides splits, in the order of canonical names."""


def _kind_of(part: str) -> tuple[PartKind | None, str]:
    for kind in KINDS:
        if match := re.fullmatch(kind.pattern, part):
            return kind, match[1]
    return None, ""


def _usual_sampling(dataset: Dataset) -> Sampling | None:
    """Default sampling of clips; None for data sets without clips."""
    return dataset.sampling if any(m.kind == "clip" for m in dataset.modalities) else None


def _candidates(dataset: Dataset) -> list[str]:
    """Modalities that can be privileged."""
    return [m.name for m in dataset.modalities if m.name not in dataset.target]


def _unknown(dataset: Dataset, name: str) -> UnknownName:
    examples = [example for kind in KINDS for example in kind.examples(dataset)]
    known = [*dataset.protocol_names(), *dataset.averages, *examples]
    return UnknownName(f"protocol of data set {dataset.name!r}", name, known)
