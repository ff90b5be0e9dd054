"""What the documents say is what the code does: names, values, links, tests and snippets."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from tests.harness.server import ROOT
from tests.reading import error_codes, limits, notices
from tidings.domain.events import EventType
from tidings.gateway.http.problems import _FIELD_CODES, _FRAMEWORK
from tidings.health.metrics import Metrics
from tidings.protocol.closing import Close
from tidings.protocol.frames import TYPES
from tidings.protocol.server_frames import ServerFrame
from tidings.settings import PREFIX, Settings

BESIDE = ("tests/conformance/README.md", "web/client/README.md", "deploy/README.md")
DOCS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / name for name in BESIDE)],
    key=lambda path: path.as_posix(),
)
LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHOWN = ("own_agent.py", "own_client.py")
FILE = re.compile(r"`((?:\w+/)+\w+\.py)`")
TEST = re.compile(r"`(?:tests/)?((?:\w+/)+\w+\.py)::(test_\w+)`")
TIERS = {
    "faults/test_postgres.py": "PostgreSQL",
    "storage/test_postgres.py": "PostgreSQL",
    "hot/": "Valkey",
    "fleet/": "fleet",
}
"""What tests bring that choose their tiers by themselves."""
LINKED_TEST = re.compile(r"\[`(test_\w+)`\]\((tests/[^)]+)\)")


def read(name: str) -> str:
    return (ROOT / name).read_text()


def rows(name: str) -> dict[str, str]:
    """Return the rows of a document's tables by what stands in their first cell."""
    lines = [line for line in read(name).splitlines() if line.startswith("| `")]
    return {line.split("|")[1].strip().strip("`"): line for line in lines}


def anchors(path: Path) -> set[str]:
    """Return the places in a document that a link can name, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def test_the_glossary_has_each_word_once_in_order() -> None:
    words = re.findall(r"^\| `?([\w ]+)`? \| ", read("docs/glossary.md"), re.MULTILINE)[1:]
    assert len(words) > 40
    assert [word.lower() for word in words] == sorted({word.lower() for word in words})


def test_every_setting_is_documented_with_its_default() -> None:
    table = rows("docs/operations.md")
    for setting in fields(Settings):
        row = table[PREFIX + setting.name.upper()]
        if setting.default != "":
            assert f"`{setting.default}`" in row
    named = {name for name in table if name.startswith(PREFIX)}
    assert named == {PREFIX + setting.name.upper() for setting in fields(Settings)}


def test_the_architecture_shows_the_layers_and_the_folders_as_they_are() -> None:
    contracts = tomllib.loads(read("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    layers = ["testing", *contracts[0]["layers"][1:]]  # the first is but how Python begins it
    assert "\n".join(layers) in read("ARCHITECTURE.md")
    listed = set(re.findall(r"`(\w+/|\w+\.py)`", read("ARCHITECTURE.md")))
    source = ROOT / "src" / "tidings"
    folders = {f"{path.parent.name}/" for path in source.glob("*/__init__.py")}
    files = {path.name for path in source.glob("[a-z]*.py")}
    assert folders | files <= listed


def test_every_metric_is_in_the_operations_guide() -> None:
    kinds = re.findall(r"^# TYPE (tidings_\w+)", Metrics().render().decode(), re.MULTILINE)
    guide = read("docs/operations.md")
    metrics = [name for name in kinds if not name.endswith("_created")]
    assert [name for name in metrics if not re.search(rf"`{name}[`{{]", guide)] == []


def test_every_type_of_event_and_frame_is_in_the_protocol() -> None:
    table = rows("docs/protocol.md")
    assert {event.value for event in EventType} <= table.keys()
    assert set(TYPES) <= table.keys()
    assert {frame.__struct_config__.tag for frame in ServerFrame.__args__} <= table.keys()


def test_the_close_codes_are_those_of_the_protocol() -> None:
    text = read("docs/protocol.md")
    told = {int(code): name for code, name in re.findall(r"^\| (\d{4}) \| `(\w+)`", text, re.M)}
    assert told == {close.value: close.name for close in Close}


def test_every_code_of_a_refusal_is_documented() -> None:
    told = set(re.findall(r"`([a-z_]+)`", read("docs/errors.md")))
    framework = {code for code, _ in _FRAMEWORK.values()} | set(_FIELD_CODES.values())
    assert (error_codes() | framework) - told == set()


def test_every_notice_is_in_the_protocol() -> None:
    assert notices() - set(re.findall(r"`([a-z_]+)`", read("docs/protocol.md"))) == set()


def test_every_limit_is_documented_with_its_value() -> None:
    table = {name: row.split("|")[2].strip() for name, row in rows("docs/limits.md").items()}
    assert table == limits()


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in LINK.findall(FENCED.sub("", path.read_text())):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def test_every_python_file_that_is_named_exists() -> None:
    folders = [ROOT / name for name in ("src", "tests", "examples", "bench")]
    there = [path.as_posix() for folder in folders for path in folder.rglob("*.py")]
    named = {(path.name, name) for path in DOCS for name in FILE.findall(path.read_text())}
    assert len(named) > 30
    assert [pair for pair in named if not any(file.endswith(f"/{pair[1]}") for file in there)] == []


def test_every_test_that_is_named_as_proof_exists() -> None:
    named = [(f"tests/{file}", test) for file, test in TEST.findall(read("docs/guarantees.md"))]
    named += [(f"tests/{file}", test) for file, test in TEST.findall(read("docs/security.md"))]
    named += [(file, test) for test, file in LINKED_TEST.findall(read("README.md"))]
    assert len(named) > 40
    missing = [(f, t) for f, t in named if f"def {t}(" not in (ROOT / f).read_text()]
    assert missing == []


def test_every_fault_and_bad_input_has_its_row_and_the_tests_it_names() -> None:
    lines = [line for line in read("docs/faults.md").splitlines() if re.match(r"\| [FB]\d", line)]
    numbers = [number for line in lines for number in re.findall(r"[FB]\d+", line.split("|")[1])]
    assert numbers == [*(f"F{n}" for n in range(1, 56)), *(f"B{n}" for n in range(1, 35))]
    for line in lines:
        named = TEST.findall(line)
        assert named or "not shown" in line, line
        for file, test in named:
            assert f"def {test}(" in (ROOT / "tests" / file).read_text(), test
        on = {shown_on(file, test) for file, test in named}
        on -= {"embedded"} if "every set" in on else set()
        assert set(line.split("|")[-2].strip().split(", ")) == on, line


def shown_on(file: str, test: str) -> str:
    """Return the tiers that a test runs on: those that it brings, or those of the session."""
    for beginning, tiers in TIERS.items():
        if file.startswith(beginning):
            return tiers
    source = (ROOT / "tests" / file).read_text()
    marks = source.partition(f"def {test}(")[0].rpartition("\n\n\n")[2]
    marks += "".join(re.findall(r"^pytestmark = .*", source, re.MULTILINE))
    suites = re.findall(r"^SUITES \?= (.*)", read("Makefile"), re.MULTILINE)[0].split()
    anywhere = f"tests/{file}".startswith(tuple(suites)) and "mark.embedded" not in marks
    return "every set" if anywhere else "embedded"


def test_every_promise_has_its_proof() -> None:
    promises = read("docs/guarantees.md").split("\n## ")[1:]
    assert promises
    for promise in promises:
        assert "**Promise.**" in promise
        assert "**Not promised.**" in promise
        assert TEST.search(promise.partition("**Proof.**")[2])


def test_every_document_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        path = waiting.pop()
        reached.add(path)
        for target in LINK.findall(FENCED.sub("", path.read_text())):
            there = (path.parent / target.partition("#")[0]).resolve()
            there_are = sorted(there.glob("*.md")) if there.is_dir() else [there]
            waiting += [p for p in there_are if p.suffix == ".md" and p not in reached]
    assert set(DOCS) <= reached


def test_the_readme_shows_the_examples_as_they_are() -> None:
    for shown, example in zip(PYTHON.findall(read("README.md")), SHOWN, strict=True):
        assert read(f"examples/{example}").endswith(shown)
