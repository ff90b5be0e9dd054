"""The TypeScript client: it does what the vectors say, and the page has its newest build."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conformance import vectors
from tests.harness.server import ROOT

SOURCE = ROOT / "web" / "client"
BUILT = ROOT / "src" / "tidings" / "gateway" / "page" / "client"
COMPILER = SOURCE / "node_modules" / ".bin" / "tsc"
NODE = shutil.which("node")
NODE_SECONDS = 100


def run_node(*arguments: str | Path, **environment: str | Path) -> None:
    """Run the tests of a file under node; fail with what it said."""
    if NODE is None:
        pytest.skip("node is not installed: the TypeScript client is not run here")
    given = os.environ | {name: str(value) for name, value in environment.items()}
    ran = subprocess.run(
        [NODE, "--test", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=given,
        timeout=NODE_SECONDS,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_core_does_what_the_vectors_say(tmp_path: Path) -> None:
    data = tmp_path / "vectors.json"
    data.write_text(json.dumps(vectors.load("client")))
    run_node(SOURCE / "test" / "vectors.test.js", VECTORS=data, CLIENT=BUILT)


def test_the_page_has_the_client_as_it_is_written(tmp_path: Path) -> None:
    if NODE is None or not COMPILER.exists():
        pytest.skip("node or typescript is not installed (make client): nothing can be compiled")
    compiled = ["--outDir", str(tmp_path / "dist"), "--declaration", "false"]
    subprocess.run([COMPILER, "-p", SOURCE, *compiled], check=True, timeout=NODE_SECONDS)
    placed = tmp_path / "client"
    subprocess.run([NODE, SOURCE / "place.mjs", tmp_path / "dist", placed], check=True)
    assert read(placed) == read(BUILT)


def read(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}
