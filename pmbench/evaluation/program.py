"""Contents of a sealed program's archive: tensors, and a graph of plain tensor operations."""

from __future__ import annotations

import ast
import json
import re
import zipfile
from pathlib import Path
from typing import Any

from ..errors import SealError
from . import operations

SAMPLES = "data/sample_inputs/"

_ENTRIES = re.compile(
    r"[^/]+/(data/weights/(weight_\d+|model_weights_config\.json)|data/constants/(tensor_\d+|model_constants_config\.json)"
    r"|data/sample_inputs/model\.pt|models/model\.json|archive_format|archive_version|byteorder|version"
    r"|\.data/(version|serialization_id))"
)
_TENSOR_FILE = re.compile(r"(weight|tensor)_\d+")
_SYMBOL = re.compile(r"[suz]\d+")
_NUMBER = re.compile(r"-?\d+(\.\d*)?(e[+-]?\d+)?")
_FUNCTION = re.compile(
    r"Symbol|Integer|Rational|Float|Add|Mul|Pow|Max|Min|Abs|floor|ceiling|Mod|"
    r"PythonMod|FloorDiv|CleanDiv|CeilDiv|ModularIndexing|IntTrueDiv|FloatTrueDiv|"
    r"PowByNatural|CeilToInt|FloorToInt|TruncToInt|ToFloat|Identity|Where|Eq|Ne|Equality|"
    r"Unequality|StrictLessThan|LessThan|StrictGreaterThan|GreaterThan|And|Or|Not"
)
_PARTS = (
    ast.Expression,
    ast.BinOp,
    ast.UnaryOp,
    ast.Compare,
    ast.operator,
    ast.unaryop,
    ast.cmpop,
    ast.Call,
    ast.keyword,
    ast.Load,
)


def check_archive(path: Path) -> None:
    """Raises SealError if the archive holds entries to unpickle, unknown operations, or compiled code.

    torch.export.load is not a safe reader of foreign files: it unpickles sample inputs, tensors marked as
    pickles and opaque objects, looks up operations by name below `torch`, and evaluates size expressions.
    Therefore only known entries, operations and expressions pass.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if (
                len({name.lower() for name in names}) != len(names)
                or len({n.partition("/")[0] for n in names}) != 1
            ):
                raise SealError(f"{path} holds an entry twice, or several archives")
            for entry in archive.infolist():
                _check_entry(path, archive, entry)
    except (
        OSError,
        zipfile.BadZipFile,
        ValueError,
        SyntaxError,
        KeyError,
        AttributeError,
        TypeError,
    ) as error:
        raise SealError(f"{path} is not a sealed program: {type(error).__name__}: {error}") from error


def _check_entry(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    if not _ENTRIES.fullmatch(name) or (SAMPLES in name and entry.file_size):
        raise SealError(f"{path} holds {name}, which is not part of a sealed program")
    if name.endswith("_config.json"):
        for tensor, item in json.loads(archive.read(entry))["config"].items():
            if item.get("use_pickle") or not _TENSOR_FILE.fullmatch(item["path_name"]):
                raise SealError(f"{path} stores {tensor!r} as a pickle; expected a plain tensor")
    elif name.endswith("models/model.json"):
        _check_graph(path, json.loads(archive.read(entry)))


def _check_graph(path: Path, value: Any, target: str = "") -> None:
    """Checks nested JSON; `target` is the operation of the node that `value` is part of."""
    if isinstance(value, list):
        for inner in value:
            _check_graph(path, inner, target)
        return
    if not isinstance(value, dict):
        return
    if isinstance(value.get("target"), str) and "inputs" in value:
        target = value["target"]
    for key, inner in value.items():
        if key == "target" and isinstance(inner, str) and not operations.is_known(inner):
            raise SealError(f"{path} calls {inner!r}, which is not among the operations of sealed programs")
        if key == "expr_str" and not _is_size(inner):
            raise SealError(f"{path} evaluates {inner!r}, which is not the size of a tensor")
        if key.startswith("as_") and key not in operations.ARGUMENTS:
            raise SealError(f"{path} passes an argument of kind {key!r} to {target!r}")
        if key in ("as_string", "as_strings"):
            for text in inner if isinstance(inner, list) else [inner]:
                if not isinstance(text, str) or not operations.is_word(text, target):
                    raise SealError(f"{path} passes the string {text!r} to {target!r}")
        _check_graph(path, inner, target)


def _is_size(expression: Any) -> bool:
    """Whether an expression is arithmetic on numbers and size symbols such as s95, without other names."""
    for node in ast.walk(ast.parse(expression, mode="eval")):
        if isinstance(node, ast.Call):
            known = isinstance(node.func, ast.Name) and bool(_FUNCTION.fullmatch(node.func.id))
        elif isinstance(node, ast.Name):
            known = bool(_FUNCTION.fullmatch(node.id) or _SYMBOL.fullmatch(node.id))
        elif isinstance(node, ast.Constant):
            known = _is_size_constant(node.value)
        else:
            known = isinstance(node, _PARTS)
        if not known:
            return False
    return True


def _is_size_constant(value: object) -> bool:
    """Whether a constant is a number or a string that names a symbol; sympy evaluates other strings."""
    if isinstance(value, str):
        return bool(_SYMBOL.fullmatch(value) or _NUMBER.fullmatch(value))
    return isinstance(value, int | float)
