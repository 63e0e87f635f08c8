"""A data set: what it holds, how its official form is read, and the protocols it is compared under."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import DataNotPrepared, UnknownName, UsageError
from .modality import Modality
from .recipe import Recipe
from .samples import Download, Draw, Part, Sampling

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Split:
    """An official split: the parts to train, validate and test on. "a+b" is part a followed by part b, so
    that splits which overlap store no sample twice.

    Without an official `validation` part, whole groups are carved out of the training part:
    `validation_groups` if given, else about 15 % of it by a fixed hash; without groups 15 % of each class.
    `unlabelled` says that some training samples have no label.
    """

    train: str
    test: str
    validation: str | None = None
    validation_groups: tuple[str, ...] = ()
    unlabelled: bool = False


@dataclass(frozen=True)
class Protocol:
    """What makes numbers comparable: split, setting, metric and validation rule.

    `labels_per_class` K: only K training samples of each class (drawn by seed) keep their label, as do K of
    each class in the validation data; the rest stay, paired and unlabelled. `paired_percent` P: only P % of
    the training samples (drawn by seed) have the privileged modalities.
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

    def seen(self, modality: Modality) -> Modality:
        """The modality as networks see it under this protocol: clips of as many frames as it samples."""
        if self.sampling is None or modality.kind != "clip":
            return modality
        channels, _, *grid = modality.shape
        return dataclasses.replace(modality, shape=(channels, self.sampling.frames, *grid))

    @property
    def demands(self) -> frozenset[str]:
        """What training samples may lack: "unlabelled", "unpaired"."""
        return frozenset(
            (["unlabelled"] if self.labels_per_class is not None or self.split.unlabelled else [])
            + (["unpaired"] if self.paired_percent < 100 else [])
        )

    def identity(self) -> dict[str, Any]:
        """What decides which training samples there are and what they hold; enters the key of every stage.

        The direction of privilege does not, so that both directions share their streams.
        """
        thinned = {"paired_percent": self.paired_percent, "privileged": list(self.privileged)}
        return {
            "split": dataclasses.asdict(self.split),
            "labels_per_class": self.labels_per_class,
            **(thinned if self.paired_percent < 100 else {}),
            **({"sampling": dataclasses.asdict(self.sampling)} if self.sampling else {}),
        }


class Dataset:
    """Base of all data sets. A subclass fills in the declarations and `read`; core writes, opens, seals and
    verifies.

    `expected` maps part -> number of samples, or part -> (samples of class 0, of class 1, ...), where "a+b"
    is two parts together. A data set
    whose official form comes with an installed package (`find_source`) is prepared on first use. `recipes`
    are named after what they come from; the first is used unless another is asked for. `sampling` is how
    clips are taken where a protocol does not say. `downloads` are the files of an open official download, and
    `unpack` says that `read` wants the tree that archives hold.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    summary: ClassVar[str]
    classes: ClassVar[tuple[str, ...]]
    modalities: ClassVar[tuple[Modality, ...]]
    splits: ClassVar[Mapping[str, Split]]
    target: ClassVar[tuple[str, ...]]
    privileged: ClassVar[tuple[str, ...]]
    default_protocol: ClassVar[str]
    few: ClassVar[tuple[int, ...]] = (10,)
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "mean_class_accuracy", "macro_f1")
    backbones: ClassVar[Mapping[str, str]]
    recipes: ClassVar[Mapping[str, Recipe]] = {"standard": Recipe()}
    sampling: ClassVar[Sampling] = Sampling()
    expected: ClassVar[Mapping[str, int | tuple[int, ...]]] = {}
    licence: ClassVar[str]
    source: ClassVar[str]
    citation: ClassVar[str]
    access: ClassVar[str] = ""
    downloads: ClassVar[tuple[Download, ...]] = ()
    unpack: ClassVar[bool] = False
    positive_class: ClassVar[int] = 1

    # --- what a data set that is declared by its data writes ----------------------------------------------

    declaration: ClassVar[Mapping[str, Any] | None] = None
    """JSON that `declared` makes the data set of; kept in the prepared form."""

    @property
    def takes_names(self) -> bool:
        """Whether there are data sets `<own name>/<name>`."""
        return type(self).named is not Dataset.named

    def named(self, name: str) -> Dataset:
        """The data set that goes by `<own name>/<name>`; raises UnknownName where there are no such."""
        raise UnknownName("data set", f"{self.name}/{name}", [self.name])

    def at(self, source: Path) -> Dataset:
        """As the official form at `source` declares it."""
        return self

    def declared(self, declaration: Mapping[str, Any]) -> Dataset:
        """As a `declaration` says."""
        return self

    # --- what a subclass writes -----------------------------------------------------------------------------

    def find_source(self) -> Path | None:
        """The official form inside an installed package, if the data set is embedded and the package is
        there.
        """
        return None

    def read(self, source: Path) -> Iterator[tuple[str, Part]]:
        """The parts of the official form at `source`, one after the other, as (part name, Part).

        Raises DataError where the files are not what the official form has.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how its official form is read")

    def augment(self, batch: Mapping[str, Tensor], draw: Draw) -> Mapping[str, Tensor]:
        """Training batches with augmentation. Modalities on one grid must use the same names of draws."""
        return batch

    # --- protocols ------------------------------------------------------------------------------------------

    @property
    def augments(self) -> bool:
        return type(self).augment is not Dataset.augment

    def modality(self, name: str) -> Modality:
        by_name = {m.name: m for m in self.modalities}
        if name not in by_name:
            raise UnknownName(f"modality of data set {self.name!r}", name, by_name)
        return by_name[name]

    @property
    def recipe(self) -> Recipe:
        """The recipe used unless another is asked for."""
        return next(iter(self.recipes.values()))

    def part_names(self, *, test: bool = False) -> set[str]:
        """Names of the parts that splits are made of; with `test`, of those that some split tests on."""
        named = [(s.test,) if test else (s.train, s.validation or "", s.test) for s in self.splits.values()]
        return {part for names in named for name in names for part in name.split("+") if part}

    @property
    def _others(self) -> list[str]:
        """The modalities that can be privileged."""
        return [m.name for m in self.modalities if m.name not in self.target]

    @property
    def default_split(self) -> str:
        return next(iter(self.splits))

    def protocol_names(self) -> list[str]:
        """The protocols worth listing; any few-K, privileged-P, with-M and direction can be asked for
        besides.
        """
        names = [self.default_protocol]
        for direction in ("", *(f"@{m}" for m in self.privileged)):
            for split in self.splits:
                prefix = "" if split == self.default_split else f"{split}+"
                names += [split + direction, *(f"{prefix}few-{k}{direction}" for k in self.few)]
        return list(dict.fromkeys(names))

    def protocol(self, name: str) -> Protocol:
        """The protocol called `name`: `<part>[+<part>...][@<target modality>]`.

        A part is an official split, `few-K` (K labelled training samples of each class), `privileged-P` (P %
        of the training samples have the privileged modalities), `with-m` (modality m is privileged in place
        of the usual ones; several make several), and where there are clips `clip-F` (F consecutive frames) or
        `even-F` (F frames spread over the recording). Without a split the first one is meant. `@m` tests on
        modality m and makes the data set's usual target modalities privileged.
        """
        body, _, direction = name.partition("@")
        split, few, paired = None, None, 100
        chosen: set[str] = set()
        usual = self.sampling if any(m.kind == "clip" for m in self.modalities) else None
        sampling = usual
        for part in body.split("+"):
            if part in self.splits and split is None:
                split = part
            elif (match := re.fullmatch(r"few-([1-9]\d*)", part)) and few is None:
                few = int(match[1])
            elif (
                (match := re.fullmatch(r"privileged-(\d+)", part))
                and paired == 100
                and 0 < int(match[1]) < 100
            ):
                paired = int(match[1])
            elif (match := re.fullmatch(r"(clip|even)-([1-9]\d*)", part)) and usual and sampling is usual:
                sampling = dataclasses.replace(usual, frames=int(match[2]), even=match[1] == "even")
            elif part.startswith("with-") and (extra := part.removeprefix("with-")) not in chosen:
                self.modality(extra)
                if extra in self.target:
                    raise UsageError(
                        f"protocol {name!r}: {extra!r} is the target modality; drop {part!r}, or turn the "
                        "direction round with '@<modality>'"
                    )
                chosen.add(extra)
            else:
                more = ["privileged-50", *(f"with-{m}" for m in self._others)]
                more += ["clip-16", "even-5"] if usual else []
                raise UnknownName(
                    f"protocol of data set {self.name!r}", name, [*self.protocol_names(), *more]
                )
        target, privileged = self.target, self.privileged
        if chosen and chosen != set(privileged):
            privileged = tuple(m for m in self._others if m in chosen)
        told = [f"with-{m}" for m in privileged] if privileged != self.privileged else []
        if direction:
            self.modality(direction)
            if direction in target:
                raise UsageError(
                    f"protocol {name!r}: {direction!r} is the target modality already; drop '@{direction}'"
                )
            privileged = (*target, *(m for m in privileged if m != direction))
            target = (direction,)
        split = split or self.default_split
        parts = [f"few-{few}"] if few is not None else []
        parts += [f"privileged-{paired}"] if paired < 100 else []
        parts += told
        if sampling and sampling != usual:
            parts += [f"{'even' if sampling.even else 'clip'}-{sampling.frames}"]
        parts = [*([split] if split != self.default_split or not parts else []), *parts]
        canonical = "+".join(parts) + (f"@{direction}" if direction else "")
        return Protocol(
            canonical, split, self.splits[split], target, privileged, self.metrics, few, paired, sampling
        )

    def not_prepared(self, root: Path) -> DataNotPrepared:
        """The error for a data set whose prepared form is not under `root`."""
        if self.find_source() is not None:
            return DataNotPrepared(
                f"data set {self.name!r} is not prepared under {root}",
                f"`pmbench data prepare {self.name}` prepares it",
            )
        return DataNotPrepared(
            f"data set {self.name!r} is not prepared under {root}",
            self.how_to_get(),
        )

    def how_to_get(self) -> str:
        """Where the official form comes from, and what to type then."""
        how = self.access or f"get it from {self.source}"
        how += "" if self.source in how else f" ({self.source})"
        name = f"{self.name}/<name>" if self.takes_names and "/" not in self.name else self.name
        fetched = f", or `pmbench data prepare {name} --download`" if self.downloads else ""
        return f"{how}; then `pmbench data prepare {name} --source PATH`{fetched}"
