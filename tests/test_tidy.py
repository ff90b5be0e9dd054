"""The house rules that a linter does not know, held mechanically over the whole source."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

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
    "gateway/http/edge.py": 1,
    "gateway/websocket.py": 1,
    "storage/warm/sqlite.py": 1,
}
"""The worker's outer loop; the gateway's outer edge, over HTTP and over the socket; and the writer
thread, which swallows nothing: it hands what was raised to the caller on the event loop."""

sources = pytest.mark.parametrize(
    "path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE))
)
everything = pytest.mark.parametrize(
    "path",
    sorted(p for folder in ("src", "tests", "examples") for p in (ROOT / folder).rglob("*.py")),
    ids=lambda path: str(path.relative_to(ROOT)),
)
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


@everything
def test_a_file_and_its_functions_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= FILE_LINES_MAX
    for function in functions(path):
        lines = (function.end_lineno or 0) - function.lineno + 1 - _docstring_lines(function)
        assert lines <= FUNCTION_LINES_MAX, f"{function.name} has {lines} lines"


def _docstring_lines(function: Function) -> int:
    first = function.body[0]
    if ast.get_docstring(function) is None or first.end_lineno is None:
        return 0
    return first.end_lineno - first.lineno + 1


@sources
def test_a_class_has_one_job_and_a_name_for_it(path: Path) -> None:
    for class_ in classes(path):
        names = [method.name for method in methods(class_) if not _is_property(method)]
        public = [name for name in names if not name.startswith("_")]
        assert len(public) <= PUBLIC_METHODS_MAX, f"{class_.name}: {public}"
        assert len(names) <= METHODS_MAX, f"{class_.name}: {names}"
        assert not BANNED.search(class_.name), class_.name


def _is_property(method: Function) -> bool:
    return any(ast.unparse(decorator) == "property" for decorator in method.decorator_list)


def test_a_class_is_defined_once() -> None:
    names = Counter(class_.name for path in SOURCE.rglob("*.py") for class_ in classes(path))
    assert [name for name, count in names.items() if count > 1 and not name.startswith("_")] == []


@sources
def test_a_collaborator_is_required_at_construction(path: Path) -> None:
    """What a class keeps and calls is never None: nothing has to ask whether it is there."""
    for class_ in classes(path):
        for method in methods(class_):
            if method.name != "__init__":
                continue
            for argument in (*method.args.args, *method.args.kwonlyargs):
                kinds = set(_alternatives(argument.annotation))
                assert "None" not in kinds or kinds <= DATA | {"None"}, (class_.name, argument.arg)


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


@sources
def test_imports_stand_at_the_top(path: Path) -> None:
    """Inside a function only with a reason beside it."""
    lines = path.read_text().splitlines()
    for function in functions(path):
        for node in ast.walk(function):
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert re.search(r"# noqa: PLC0415 - \w+", lines[node.lineno - 1]), node.lineno


def test_broad_excepts_are_where_they_are_named() -> None:
    found: Counter[str] = Counter()
    for path in SOURCE.rglob("*.py"):
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


@everything
def test_a_file_says_in_its_first_line_what_it_is(path: Path) -> None:
    if path.read_text():
        assert ast.get_docstring(tree(path))
