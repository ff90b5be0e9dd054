"""The child process that draws charts: specifications in on stdin, SVG out on stdout, both JSON."""

import resource
import sys
from typing import Any

import msgspec
import vl_convert

CPU_SECONDS = 20


def main() -> None:
    """Draw every specification; one that can not be drawn gives null."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    specs = msgspec.json.decode(sys.stdin.buffer.read(), type=list[dict[str, Any]])
    sys.stdout.buffer.write(msgspec.json.encode([_svg(spec) for spec in specs]))


def _svg(spec: dict[str, Any]) -> str | None:
    try:
        return str(vl_convert.vegalite_to_svg(spec, allowed_base_urls=[]))
    except ValueError:
        return None


if __name__ == "__main__":
    main()
