"""Digests of source code that ignore changes without effect on results.

These are changes of comments, docstrings, layout, arguments of `raise`, messages of `assert`, help texts of
options, teachers, search spaces and deliveries that methods declare, notes and log calls.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import sys
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ContractError

_LOGGERS = ("log", "logger", "logging", "warnings")
_DECLARED = ("teachers", "search", "deliveries")
"""Arguments of `pm.method` that enter no key."""
_LOG_CALLS = ("critical", "debug", "error", "exception", "info", "warn", "warning")


def module_digest(module: str) -> str:
    """SHA-256 over a module and the modules of its top-level package that it imports, at any depth.

    Modules are located without importing them. Imports inside pmbench are not followed. Raises ContractError
    if the source of a module is not found.
    """
    family = module.partition(".")[0]
    found: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        path = _path(name)
        if path is None:
            raise ContractError(f"module {name!r} has no source file, so it cannot be part of a key")
        stat = path.stat()
        parsed = _parse(path, stat.st_mtime_ns, stat.st_size)
        found[name] = parsed.digest
        if family != "pmbench":
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            imported = (_absolute(one, package) for one in parsed.imports)
            waiting += [m for m in imported if m.partition(".")[0] == family and _path(m)]
    text = "\n".join(f"{name} {found[name]}" for name in sorted(found))
    return hashlib.sha256(text.encode()).hexdigest()


class _Parsed(NamedTuple):
    digest: str
    imports: tuple[str, ...]
    """Names of imported modules, with leading dots if relative."""


@functools.lru_cache(maxsize=1024)
def _parse(path: Path, mtime_ns: int, size: int) -> _Parsed:
    tree = ast.parse(path.read_bytes(), str(path))
    imports: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports |= {alias.name: None for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            joint = "" if base.endswith(".") else "."
            imports |= dict.fromkeys((base, *(f"{base}{joint}{alias.name}" for alias in node.names)))
    text = _text(_Meaning().visit(tree))
    return _Parsed(hashlib.sha256(text.encode()).hexdigest(), tuple(imports))


class _Meaning(ast.NodeTransformer):
    """Removes nodes without effect on results from a syntax tree."""

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return ast.Raise()

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        node.msg = None
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return ast.Pass() if text or _is_message(node.value) else self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if _name(node.func) in ("option", "pm.option"):
            node.args = node.args[:1]
            node.keywords = [k for k in node.keywords if k.arg != "help"]
        if _name(node.func) in ("method", "pm.method"):
            node.keywords = [k for k in node.keywords if k.arg not in _DECLARED]
        return self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        node = super().generic_visit(node)
        for name in ("body", "orelse", "finalbody"):
            body = getattr(node, name, None)
            if isinstance(body, list):
                kept = [statement for statement in body if not isinstance(statement, ast.Pass)]
                setattr(node, name, kept)
        return node


def _is_message(node: ast.expr) -> bool:
    """Whether a statement only prints, warns, logs or adds a note."""
    if not isinstance(node, ast.Call):
        return False
    owner, _, name = _name(node.func).rpartition(".")
    return (
        (owner, name) == ("", "print")
        or (owner.rpartition(".")[2].strip("_") in _LOGGERS and name in _LOG_CALLS)
        or (owner == "bench" and name == "note")
    )


def _name(node: ast.expr) -> str:
    """A dotted name; empty for any other expression."""
    if isinstance(node, ast.Attribute):
        owner = _name(node.value)
        return f"{owner}.{node.attr}" if owner else ""
    return node.id if isinstance(node, ast.Name) else ""


def _text(node: Any) -> str:
    """The syntax tree as text without empty fields, which differ between versions of Python."""
    if isinstance(node, ast.AST):
        fields = [f"{name}={_text(v)}" for name, v in ast.iter_fields(node) if v is not None and v != []]
        return f"{type(node).__name__}({','.join(fields)})"
    return f"[{','.join(map(_text, node))}]" if isinstance(node, list) else repr(node)


def _absolute(name: str, package: str) -> str:
    """`..losses` in package `a.b` is `a.losses`."""
    level = len(name) - len(name.lstrip("."))
    if not level:
        return name
    above = package.split(".")[: len(package.split(".")) - level + 1]
    return ".".join([*above, name[level:]] if name[level:] else above)


def _path(module: str) -> Path | None:
    """Source file of a module, located without importing it or its parents, which may need torch."""
    loaded = sys.modules.get(module)
    if loaded is not None:
        file = getattr(loaded, "__file__", None)
        return Path(file) if file and file.endswith(".py") else None
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
