"""What the code says of itself, for tests that compare documents with it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import tidings
from tidings.domain import errors

SOURCES = Path(tidings.__file__).parent
LIMIT_WORDS = {"MAX", "MIN", "SECONDS"}
ERRORS = {name for name in vars(errors) if isinstance(getattr(errors, name), type)}
SPEAKERS = {"Fault", "failed", "Problem", "Refused", "ImportRefused", "ModelFault"}


def trees() -> Iterator[tuple[str, ast.Module]]:
    """Yield every module's name, without the package, and what it consists of."""
    for path in sorted(SOURCES.rglob("*.py")):
        parts = path.relative_to(SOURCES).with_suffix("").parts
        yield ".".join(parts), ast.parse(path.read_text())


def limits() -> dict[str, str]:
    """Return the named limits of all modules with their values, as documents write them."""
    return {
        f"{module}.{name}": _written(name, value)
        for module, tree in trees()
        for name, value in _constants(tree)
        if LIMIT_WORDS & set(name.split("_"))
    }


def error_codes() -> set[str]:
    """Return every code that is written down where something is refused or fails."""
    return {code for _, tree in trees() for call in _refusals(tree) if (code := _code(call))}


def notices() -> set[str]:
    """Return the codes of the notices that agents tell."""
    calls = (c for _, tree in trees() for c in ast.walk(tree) if isinstance(c, ast.Call))
    telling = (call for call in calls if _called(call) in {"notice", "degrade"})
    return {code for call in telling if (code := _code(call))}


def _refusals(tree: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and ERRORS & {ast.unparse(base) for base in node.bases}:
            yield from (c for c in ast.walk(node) if isinstance(c, ast.Call) if _is_super(c))
        if isinstance(node, ast.Call) and _called(node) in (ERRORS | SPEAKERS) - {"NotFound"}:
            yield node


def _is_super(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr == "__init__"


def _code(call: ast.Call) -> str:
    """Return the text that a call begins with, if it is there in so many words."""
    first = call.args[0] if call.args else None
    value = first.value if isinstance(first, ast.Constant) else None
    return value if isinstance(value, str) else ""


def _called(call: ast.Call) -> str:
    function = call.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _constants(tree: ast.Module) -> Iterator[tuple[str, object]]:
    """Yield the public constants whose value is made of numbers alone."""
    for node in tree.body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        name = node.targets[0].id
        parts = {type(part) for part in ast.walk(node.value)}
        if name.isupper() and name[0] != "_" and not parts & {ast.Name, ast.Call, ast.Dict}:
            yield name, eval(compile(ast.Expression(node.value), name, "eval"), {})


def _written(name: str, value: object) -> str:
    if isinstance(value, tuple):
        return " to ".join(_written(name, part) for part in value)
    if not isinstance(value, int | float):
        return str(value)
    unit = " s" if name.endswith(("_SECONDS", "_SECONDS_MAX")) else ""
    if "BYTES" in name.split("_"):
        for size, binary in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
            if value % size == 0:
                return f"{value // size:,} {binary}"
    return f"{value:,g}{unit}" if isinstance(value, float) else f"{value:,}{unit}"
