"""RFC 6455, case by case: the Autobahn suite against the socket layer exactly as it is served."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.ports import free_port
from tests.harness.server import ENVIRONMENT, ROOT
from tidings.protocol.frames import FRAME_BYTES_MAX

PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}
COMPRESSION = ("12.*", "13.*")
LARGE = "9.*"
"""Messages of up to 16 MiB, which the product refuses with 1009: only for these is its limit
raised, so that fragments and buffers are seen to hold."""
LARGE_BYTES = 17 * 1024 * 1024
CASES_MIN = {"all but the large": 240, "the large": 50}


@pytest.mark.parametrize(
    ("what", "frame_bytes", "chosen"),
    [
        ("all but the large", FRAME_BYTES_MAX, ("-x", LARGE)),
        ("the large", LARGE_BYTES, ("-i", LARGE)),
    ],
    ids=CASES_MIN.keys(),
)
def test_b19_b20_the_socket_layer_conforms(
    tmp_path: Path, what: str, frame_bytes: int, chosen: tuple[str, ...]
) -> None:
    port = free_port()
    program = ROOT / "tests/harness/programs/echo.py"
    with subprocess.Popen(
        [sys.executable, program, str(port), str(frame_bytes)],
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
    ) as server:
        assert server.stdout is not None
        server.stdout.readline()
        without = [argument for cases in COMPRESSION for argument in ("-x", cases)]
        suite = Path(sys.executable).with_name("kosoku")
        subprocess.run(
            [suite, f"ws://127.0.0.1:{port}", *chosen, *without, "-p", "4", "-o", tmp_path],
            timeout=100,
            env=ENVIRONMENT,
            capture_output=True,
            check=False,
        )
        server.terminate()
    (results,) = json.loads((tmp_path / "index.json").read_text()).values()
    assert len(results) >= CASES_MIN[what]
    wrong = {
        case: (result["behavior"], result["behaviorClose"])
        for case, result in results.items()
        if not {result["behavior"], result["behaviorClose"]} <= PASSED
    }
    assert wrong == {}
