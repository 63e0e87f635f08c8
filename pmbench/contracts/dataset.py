"""Data sets: modalities, classes, splits and protocols, and the reader of the official form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import DataNotPrepared, UnknownName, UsageError
from .modality import Modality
from .protocol import Protocol, Split, parse_protocol
from .recipe import Recipe, Setup
from .samples import AugmentRng, Download, Files, Part, Sampling

if TYPE_CHECKING:
    from torch import Tensor


class Dataset:
    """Base class of data sets.

    A subclass sets the declarations and implements `read`. Core writes, verifies and opens the prepared form.
    """

    # --- identity -----------------------------------------------------------------------------------------

    name: ClassVar[str]
    """Lower-case name by which commands and records call it."""
    version: ClassVar[int] = 1
    """Raised when the samples change; it is part of every key."""
    summary: ClassVar[str]
    """One line for lists."""
    licence: ClassVar[str]
    """Terms of the data."""
    source: ClassVar[str]
    """Where the official form is: an address, or a citation."""
    citation: ClassVar[str]
    """What users of the data cite."""
    demo_of: ClassVar[str] = ""
    """Of a demo, called `<name>:demo`: the data set whose official form `write_demo` writes in miniature. Its
    records stand on no board.
    """

    # --- contents -----------------------------------------------------------------------------------------

    classes: ClassVar[tuple[str, ...]]
    """Names of the classes 0 to K - 1."""
    positive_class: ClassVar[int] = 1
    """The class that metrics of detection look for."""
    modalities: ClassVar[tuple[Modality, ...]]
    """All modalities; a protocol chooses among them."""
    expected: ClassVar[Mapping[str, int | tuple[int, ...]]] = {}
    """Part -> number of samples, or samples of each class; "a+b" is both parts together."""

    # --- protocols ----------------------------------------------------------------------------------------

    splits: ClassVar[Mapping[str, Split]]
    """Official splits by name; the first is the default."""
    averages: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Name -> splits whose mean result is reported, such as the folds of a cross-validation. As a protocol it
    stands for those of all its splits."""
    target: ClassVar[tuple[str, ...]]
    """Modalities that are there at test."""
    privileged: ClassVar[tuple[str, ...]]
    """Modalities that are there in training only."""
    default_protocol: ClassVar[str]
    """The protocol of a run that names none."""
    few: ClassVar[tuple[int, ...]] = (10,)
    """Values of K in the few-K protocols that are listed."""
    sampling: ClassVar[Sampling] = Sampling()
    """Default sampling of clips; protocols may override it."""
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "mean_class_accuracy", "macro_f1")
    """Names of the metrics; the first selects checkpoints and ranks methods."""

    # --- training -----------------------------------------------------------------------------------------

    backbones: ClassVar[Mapping[str, str]]
    """The default backbone of each modality."""
    recipes: ClassVar[Mapping[str, Recipe]] = {"standard": Recipe()}
    """Recipes by the name of their origin; the first is the default."""
    setups: ClassVar[Mapping[str, Setup]] = {}
    """Recipe -> what its papers ran besides: options of methods, backbones, weights, sampling."""

    # --- official form ------------------------------------------------------------------------------------

    access: ClassVar[str] = ""
    """How to obtain the official form, unless `source` suffices."""
    downloads: ClassVar[tuple[Download, ...]] = ()
    """Files of an open official download."""
    unpack: ClassVar[bool] = False
    """Whether `read` expects the unpacked tree of the archives in `source`."""
    unpacked_bytes: ClassVar[int] = 0
    """Most bytes that an archive may unpack to; 0: 100 times its own size, and in any case 256 MiB."""
    declaration: ClassVar[Mapping[str, Any] | None] = None
    """JSON from which `declared` makes the data set; kept in the prepared form. Its item "described_by" lists
    the files of the user's folder that it was read from.
    """
    notes: ClassVar[tuple[str, ...]] = ()
    """What `read` changes and what it guesses, a line each; `pmbench data prepare` prints them."""
    duplicates_are_errors: ClassVar[bool] = False
    """Whether equal samples in several parts, groups or modalities are errors, or are only counted."""

    # --- methods that a subclass implements ---------------------------------------------------------------

    def find_source(self) -> Path | None:
        """Path of the official form inside an installed package, or None.

        Data sets with an embedded official form are prepared on first use.
        """
        return None

    def read(self, source: Path) -> Iterator[tuple[str, Part]]:
        """Yields (part name, Part) for each part of the official form at `source`.

        Raises DataError for files that differ from the official form.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement read(source)")

    def write_demo(self, folder: Path) -> None:
        """Writes made-up samples in the official layout, from which `read` reads a demo, into `folder`."""
        raise NotImplementedError(f"{type(self).__name__} does not implement write_demo(folder)")

    def augment(self, batch: Mapping[str, Tensor], rng: AugmentRng) -> Mapping[str, Tensor]:
        """The augmented training batch, same shapes. Modalities on one grid share `rng` names."""
        return batch

    # --- methods of a data set that user files declare ------------------------------------------------

    def named(self, name: str) -> Dataset:
        """The data set `<own name>/<name>`; raises UnknownName for unknown names."""
        raise UnknownName("data set", f"{self.name}/{name}", [self.name])

    def at(self, source: Path) -> Dataset:
        """A copy with the declarations of the official form at `source`."""
        return self

    def declared(self, declaration: Mapping[str, Any]) -> Dataset:
        """A copy with the declarations in `declaration`."""
        return self

    def files(self, modality: str, paths: Sequence[Path | None]) -> Files | None:
        """Recordings of a modality, to be read as `read` reads them; None if `read` takes no single files."""
        return None

    def propose(self, folder: Path, *, frames: bool = False) -> tuple[Mapping[str, str], Sequence[str]]:
        """Files that describe the recordings in `folder`, text by name, and notes on what was understood.

        With `frames`, folders of numbered images are clips. Raises UsageError if it takes no user's folder.
        """
        raise UsageError(f"data set {self.name!r} is not described by files of a user")

    # --- provided -----------------------------------------------------------------------------------------

    @property
    def takes_names(self) -> bool:
        """Whether the class provides data sets `<own name>/<name>`."""
        return type(self).named is not Dataset.named

    @property
    def module(self) -> str:
        """Module of the class, whose source enters the keys of stages if the data set augments."""
        return type(self).__module__

    @property
    def augments(self) -> bool:
        """Whether the class has an augmentation."""
        return type(self).augment is not Dataset.augment

    @property
    def recipe_name(self) -> str:
        """Name of the default recipe."""
        return next(iter(self.recipes))

    @property
    def recipe(self) -> Recipe:
        """The default recipe."""
        return self.recipes[self.recipe_name]

    def modality(self, name: str) -> Modality:
        """The modality of that name; raises UnknownName."""
        by_name = {m.name: m for m in self.modalities}
        if name not in by_name:
            raise UnknownName(f"modality of data set {self.name!r}", name, by_name)
        return by_name[name]

    def part_names(self, *, test: bool = False) -> set[str]:
        """Names of the parts of all splits; with `test`, of their test parts only."""
        named = [(s.test,) if test else (s.train, s.validation or "", s.test) for s in self.splits.values()]
        return {part for names in named for name in names for part in name.split("+") if part}

    @property
    def default_split(self) -> str:
        """Name of the first split."""
        return next(iter(self.splits))

    def protocol_names(self) -> list[str]:
        """Canonical names of the protocols to list; `protocol` accepts more."""
        names = [self.default_protocol]
        for direction in ("", *(f"@{m}" for m in self.privileged)):
            for split in self.splits:
                prefix = "" if split == self.default_split else f"{split}+"
                names += [split + direction, *(f"{prefix}few-{k}{direction}" for k in self.few)]
        return list(dict.fromkeys(names))

    def protocol(self, name: str) -> Protocol:
        """The protocol called `name`: `<part>[+<part>...][@<target modality>]`.

        A part is an official split, `few-K` (K labelled training samples of each class), `privileged-P` (P %
        of the training samples have the privileged modalities; also `missing-(100-P)`), `noise-S` (the
        privileged modalities have normal noise of S stds of each channel), `delay-N` (they come N frames
        late), `with-m` (modality m is privileged in place of the default ones; repeatable), and for clips
        `clip-F` (F consecutive frames) or `even-F` (F frames spread over the recording). The default split
        is the first one. `@m` tests on modality m and makes the data set's target modalities privileged.
        """
        return parse_protocol(self, name)

    def not_prepared(self, root: Path, problem: str = "") -> DataNotPrepared:
        """The error for a missing prepared form under `root`, or an unusable one (`problem`)."""
        embedded = self.find_source() is not None
        hint = f"`pmbench data prepare {self.name}` prepares it" if embedded else self.how_to_get()
        if self.demo_of:
            hint = f"`pmbench data prepare {self.demo_of} --demo` writes and prepares it"
        message = f"data set {self.name!r} is not prepared under {root}" + (problem and f": {problem}")
        return DataNotPrepared(message, hint)

    def how_to_get(self) -> str:
        """How to obtain the official form, and the command that prepares it."""
        how = self.access or f"get it from {self.source}"
        how += "" if self.source in how else f" ({self.source})"
        name = f"{self.name}/<name>" if self.takes_names and "/" not in self.name else self.name
        fetched = f", or `pmbench data prepare {name} --download`" if self.downloads else ""
        return f"{how}; then `pmbench data prepare {name} --source PATH`{fetched}"
