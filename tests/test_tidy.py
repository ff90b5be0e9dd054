"""The house rules that a linter does not know, held mechanically over the whole source."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "tidings"
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
PUBLIC_METHODS_MAX = 15
METHODS_MAX = 25
BANNED = re.compile(
    r"Manager|Factory|Enhanced|Unified|Bridge|Helper|Util|Legacy|Wrapper|Impl|V\d+$"
)
"""Names that say nothing, or that there is a second one."""
DATA = {"str", "int", "float", "bool", "bytes", "Mapping", "tuple", "Path"}
BROAD_EXCEPTS = {
    "runs/worker.py": 1,
    "health/parts.py": 1,
    "gateway/http/edge.py": 1,
    "gateway/socket.py": 1,
    "storage/warm/sqlite.py": 1,
}
"""The worker's outer loop, and that of every part of the server; the gateway's outer edge, over
HTTP and over the socket; and the writer thread, which swallows nothing: it hands what was raised to
the caller on the event loop."""

SOURCES = sorted(SOURCE.rglob("*.py"))
EVERYTHING = sorted(p for f in ("src", "tests", "examples") for p in (ROOT / f).rglob("*.py"))
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def functions(path: Path) -> Iterator[Function]:
    yield from (n for n in ast.walk(tree(path)) if isinstance(n, Function))


def classes(path: Path) -> Iterator[ast.ClassDef]:
    yield from (n for n in ast.walk(tree(path)) if isinstance(n, ast.ClassDef))


def methods(class_: ast.ClassDef) -> Iterator[Function]:
    yield from (n for n in class_.body if isinstance(n, Function))


def test_files_and_functions_are_short() -> None:
    for path in EVERYTHING:
        assert len(path.read_text().splitlines()) <= FILE_LINES_MAX, path
        for function in functions(path):
            lines = (function.end_lineno or 0) - function.lineno + 1 - _docstring_lines(function)
            assert lines <= FUNCTION_LINES_MAX, f"{path}: {function.name} has {lines} lines"


def _docstring_lines(function: Function) -> int:
    first = function.body[0]
    if ast.get_docstring(function) is None or first.end_lineno is None:
        return 0
    return first.end_lineno - first.lineno + 1


def test_a_class_has_one_job_and_a_name_for_it() -> None:
    for path in SOURCES:
        for class_ in classes(path):
            names = [m.name for m in methods(class_) if not _is_property(m)]
            public = [name for name in names if not name.startswith("_")]
            assert len(public) <= PUBLIC_METHODS_MAX, f"{path}: {class_.name}: {public}"
            assert len(names) <= METHODS_MAX, f"{path}: {class_.name}: {names}"
            assert not BANNED.search(class_.name), f"{path}: {class_.name}"


def _is_property(method: Function) -> bool:
    return any(ast.unparse(decorator) == "property" for decorator in method.decorator_list)


def test_a_name_stands_for_one_class() -> None:
    names = Counter(class_.name for path in SOURCES for class_ in classes(path))
    assert [name for name, count in names.items() if count > 1 and not name.startswith("_")] == []


def test_a_collaborator_is_required_at_construction() -> None:
    """What a class keeps and calls is never None: nothing has to ask whether it is there."""
    for path in SOURCES:
        for class_ in classes(path):
            for argument in _construction(class_):
                kinds = set(_alternatives(argument.annotation))
                assert "None" not in kinds or kinds <= DATA | {"None"}, (class_.name, argument.arg)


def _construction(class_: ast.ClassDef) -> Iterator[ast.arg]:
    for method in methods(class_):
        if method.name == "__init__":
            yield from (*method.args.args, *method.args.kwonlyargs)


def _alternatives(annotation: ast.expr | None) -> Iterator[str]:
    """Yield the names of the types between which an annotation lets choose."""
    match annotation:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            yield from _alternatives(left)
            yield from _alternatives(right)
        case ast.Subscript(value=value):
            yield ast.unparse(value)
        case ast.expr():
            yield ast.unparse(annotation)
        case None:
            return


def test_imports_stand_at_the_top() -> None:
    """Inside a function only with a reason beside it."""
    for path in SOURCES:
        lines = path.read_text().splitlines()
        for function in functions(path):
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    line = lines[node.lineno - 1]
                    assert re.search(r"# noqa: PLC0415 - \w+", line), f"{path}: {line}"


def test_broad_excepts_are_where_they_are_named() -> None:
    found: Counter[str] = Counter()
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ExceptHandler) and _is_broad(node):
                found[str(path.relative_to(SOURCE))] += 1
    assert dict(found) == BROAD_EXCEPTS


def _is_broad(handler: ast.ExceptHandler) -> bool:
    """Return whether it catches what it cannot name, and keeps it."""
    caught = ast.unparse(handler.type) if handler.type else "BaseException"
    if not re.search(r"\b(?:Base)?Exception\b", caught):
        return False
    last = handler.body[-1]
    return not (isinstance(last, ast.Raise) and last.exc is None)


def test_a_file_says_at_its_top_what_it_is() -> None:
    said = [*SOURCES, *(p for p in EVERYTHING if p.read_text())]
    assert [p for p in said if not ast.get_docstring(tree(p))] == []
