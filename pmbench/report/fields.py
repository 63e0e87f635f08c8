"""Fields of records: every text and number has a bound, since records of others are read, too."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic.types import FiniteFloat

LONGEST = 4000
"""Characters that a text may have."""


def lists(value: Any) -> Any:
    """The value with lists for tuples, so that a record equals the one read back from its JSON."""
    if isinstance(value, dict):
        return {key: lists(v) for key, v in value.items()}
    return [lists(v) for v in value] if isinstance(value, (list, tuple)) else value


def plain_text(value: Any) -> Any:
    """Text without control characters and without characters that change the direction of others."""
    if not isinstance(value, str) or (value.isascii() and value.isprintable()):
        return value
    lines = value.replace("\r\n", "\n").replace("\t", " ")
    return "".join(c for c in lines if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co"))


Text = Annotated[str, BeforeValidator(plain_text), Field(max_length=LONGEST)]
Name = Annotated[str, BeforeValidator(plain_text), Field(max_length=200)]
Option = Annotated[bool | int | float | Text | list[Any] | None, BeforeValidator(lists)]
Names = Annotated[list[Name], BeforeValidator(lists), Field(max_length=1000)]
Texts = Annotated[list[Text], BeforeValidator(lists), Field(max_length=1000)]
Floats = Annotated[list[FiniteFloat], BeforeValidator(lists), Field(max_length=100_000)]
Departure = Annotated[list[Any], BeforeValidator(lists), Field(min_length=2, max_length=2)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=10**18)]
Seconds = Annotated[FiniteFloat, Field(ge=0, le=1e9)]
Percent = Annotated[FiniteFloat, Field(ge=-1e6, le=1e6)]
