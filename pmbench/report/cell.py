"""The cell of a record: what was run, by names."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from .fields import Name, Names, Option, Percent, Sha256, lists

Role = Literal["method", "floor", "ceiling", "control", "reference"]
TestsOn = Literal["target", "privileged", "all"]


class StrictModel(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class AblationRow(StrictModel):
    """A cell's row in the ablation tables of a paper.

    `of`: options of the method that the row is compared with. `printed`: (paper, table, variant) of the
    paper's numbers for the row, or empty.
    """

    row: Name
    of: dict[Name, Option] = {}
    printed: Names = []


class TuningStudy(StrictModel):
    """What a study of `pmbench tune` says of the method whose options it chose.

    `digest`: SHA-256 of the study's `tuned.json`, which has that of the list of all trials. `trials`: number
    of trials of each of its methods. `best`: the best score on validation data, in percent, of the first 1,
    2, ... trials, None before the first one with a score. `confirmed`: mean scores of the default and of the
    chosen values under seeds that chose nothing, None where one has no score.
    """

    name: Annotated[Name, Field(min_length=1)]
    digest: Sha256
    trials: Annotated[int, Field(ge=1, le=10**5)]
    sampler: Literal["qmc", "tpe"]
    best: Annotated[list[Percent | None], BeforeValidator(lists), Field(max_length=10**5)]
    confirmed: Annotated[list[Percent | None], BeforeValidator(lists), Field(min_length=2, max_length=2)]

    @model_validator(mode="after")
    def _consistent(self) -> TuningStudy:
        if len(self.best) != self.trials:
            raise ValueError(f"best has {len(self.best)} scores for {self.trials} trials")
        known = [score for score in self.best if score is not None]
        if not known or self.best[-len(known) :] != known:
            raise ValueError("best has no score at its end")
        if known not in (sorted(known), sorted(known, reverse=True)):
            raise ValueError("best gets worse with more trials")
        return self


class CellInfo(StrictModel):
    """Identity of a cell. `options`: those set by the user; `backbones`: modality -> backbone, with name and
    digest of pretrained weights, if any.

    `value_set`: the set of hyper-parameter values that the run selected for all methods; `values`: the set
    that this method used, "paper" if it does not declare that one. `teacher`: the reference row whose network
    teaches the method, "own" for another network, None without teacher and in older records. `placebo` took
    the place of the privileged modalities in training. `matched_epochs`: epochs of a floor that is trained
    for as many steps as all stages of a method. `study` chose the options, if they were tuned.
    """

    method: Name
    options: dict[Name, Option] = {}
    dataset: Name
    dataset_version: Annotated[int, Field(ge=0, le=10**6)]
    protocol: Name
    backbones: dict[Name, Name]
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    role: Role
    tests_on: TestsOn
    test_modalities: Names
    target: Names
    privileged: Names
    num_classes: Annotated[int, Field(ge=1, le=2**16)]
    positive_class: Annotated[int, Field(ge=0, lt=2**16)] = 1
    recipe_set: Name = "standard"
    value_set: Name = "paper"
    values: Name = "paper"
    ablation: AblationRow | None = None
    teacher: Name | None = None
    placebo: Literal["shuffle", "noise"] | None = None
    matched_epochs: Annotated[int, Field(ge=1, le=10**6)] | None = None
    study: TuningStudy | None = None

    @property
    def is_demo(self) -> bool:
        """Whether its data are made-up samples in the layout of a data set; such a cell is on no board."""
        return self.dataset.endswith(":demo")

    @property
    def parameters(self) -> dict[str, bool | int | float | str]:
        """What was run, as flat names and values without None; options are `option.<name>`."""
        fields = "dataset method protocol seed recipe_set values target privileged placebo matched_epochs"
        found = {name: getattr(self, name) for name in fields.split()}
        found |= {f"backbone.{m}": name for m, name in self.backbones.items()}
        found |= {f"option.{n}": v for n, v in self.options.items()}
        found |= {"study": self.study.name} if self.study else {}
        plain = {n: ", ".join(map(str, v)) if isinstance(v, list) else v for n, v in found.items()}
        return {n: v for n, v in plain.items() if v is not None}

    @model_serializer(mode="wrap")
    def _as_before(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Fields for JSON; a cell without a study is written as before there were any."""
        return {n: v for n, v in write(self).items() if n != "study" or v is not None}

    @model_validator(mode="after")
    def _consistent(self) -> CellInfo:
        both = [*self.target, *self.privileged]
        tested = {"target": self.target, "privileged": self.privileged, "all": both}[self.tests_on]
        if self.test_modalities != tested:
            raise ValueError(
                f"tests_on is {self.tests_on!r}, so test_modalities should be {tested}, "
                f"not {self.test_modalities}"
            )
        if self.role == "method" and self.tests_on != "target":
            raise ValueError(f"a method is tested on the target modalities, not on {self.tests_on!r}")
        return self
