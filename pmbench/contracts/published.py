"""Published numbers of papers."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from importlib import resources

from ..errors import ContractError


@dataclass(frozen=True)
class Published:
    """One published number.

    `paper` is a citation, `table` a place in it; `variant` is empty for the method itself. `dataset`,
    `protocol` and `metric` have the names that pmbench gives them; `train_modalities` and `test_modalities`
    are those of the paper. `value` is in percent, or a count for metric `parameters`; `higher_is_better` says
    which direction is good.
    """

    paper: str
    table: str
    method: str
    variant: str
    train_modalities: tuple[str, ...]
    test_modalities: tuple[str, ...]
    dataset: str
    protocol: str
    metric: str
    value: float
    higher_is_better: bool

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ContractError(f"{self.paper}, {self.table}: the value is {self.value}; expected a number")


COLUMNS = tuple(field.name for field in fields(Published))


def read_published(package: str, file: str = "published.csv") -> tuple[Published, ...]:
    """Published numbers in a CSV file of a package, in order.

    Its columns are the fields of Published, modalities joined by `+`. Raises ContractError for
    invalid rows.
    """
    text = resources.files(package).joinpath(file).read_text(encoding="utf-8")
    return parse(text.splitlines(), f"{package}/{file}")


def parse(lines: Iterable[str], name: str) -> tuple[Published, ...]:
    """The rows of a CSV file; raises ContractError with its name and line."""
    reader = csv.DictReader(lines, strict=True)
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise ContractError(f"{name} has columns {reader.fieldnames}; expected {', '.join(COLUMNS)}")
    numbers = []
    for row in reader:
        try:
            if None in row:
                raise ValueError(f"{len(COLUMNS)} columns, but more values")
            numbers.append(
                Published(
                    **{key: row[key] for key in ("paper", "table", "method", "variant")},
                    train_modalities=tuple(row["train_modalities"].split("+")),
                    test_modalities=tuple(row["test_modalities"].split("+")),
                    **{key: row[key] for key in ("dataset", "protocol", "metric")},
                    value=float(row["value"]),
                    higher_is_better={"true": True, "false": False}[row["higher_is_better"]],
                )
            )
        except (ContractError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ContractError(f"{name}, line {reader.line_num}: {error!r}") from error
    return tuple(numbers)
