"""Vega-Lite specifications become SVG that is safe to put into a page.

Drawn in a short-lived child process: the JavaScript engine would keep some 65 MB in the server for
good and run users' values inside it; a child takes 0.8 s for all charts of a report and is gone.
"""

import asyncio
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

import msgspec

from tidings.reports.values import plain

DRAW_SECONDS = 20.0
MAX_MARKS = 5000
MAX_SVG_CHARS = 2_000_000

_FORBIDDEN = frozenset(
    {"url", "href", "expr", "signal", "params", "usermeta", "datasets", "loader"}
)
_OURS = frozenset({"data", "title", "config", "width", "height", "autosize"})
_STYLE: dict[str, Any] = {
    "background": None,
    "font": "sans-serif",
    "view": {"stroke": None, "continuousHeight": 240, "discreteHeight": {"step": 30}},
    "axisX": {"tickCount": 6},
    "axisY": {"tickCount": 5},
    "mark": {"color": "#3d7ea6"},
    "line": {"strokeWidth": 1.5},
    "axis": {
        "domainColor": "#8a94a0",
        "gridColor": "#8a94a0",
        "gridOpacity": 0.2,
        "labelColor": "#7a8490",
        "labelFontSize": 12,
        "labelLimit": 200,
        "tickColor": "#8a94a0",
        "titleColor": "#7a8490",
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    },
}
_WIDTH = 540
_SVG = "http://www.w3.org/2000/svg"
_ELEMENTS = frozenset(
    {
        "svg", "g", "path", "rect", "line", "text", "tspan", "circle", "title", "desc", "defs",
        "clipPath",
    }
)  # fmt: skip
_ATTRIBUTES = frozenset(
    {"width", "height", "viewBox", "transform", "d", "x", "y", "x1", "x2", "y1", "y2", "dx", "dy"}
    | {"cx", "cy", "r", "rx", "ry", "fill", "fill-opacity", "stroke", "stroke-width", "opacity"}
    | {"stroke-opacity", "stroke-dasharray", "stroke-miterlimit", "stroke-linecap", "text-anchor"}
    | {"stroke-linejoin", "font-family", "font-size", "font-weight", "role", "aria-label"}
)
_PLAIN_VALUE = re.compile(r"(?!.*(?:url|script|expression)\b)[^<>&]*", re.IGNORECASE | re.DOTALL)


async def draw(specs: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """Return an SVG for each specification; None where it is refused or can not be drawn."""
    allowed = [harmless(spec) for spec in specs]
    drawn = iter(await _drawn([spec for spec in allowed if spec is not None]))
    return [None if spec is None else clean_svg(next(drawn) or "") for spec in allowed]


def harmless(spec: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the specification in our style; None if it names a resource, code, or too many marks.

    Its data must be inline; the title is left to the page.
    """
    values = spec.get("data", {}).get("values") if isinstance(spec.get("data"), Mapping) else None
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) > MAX_MARKS:
        return None
    rest = {key: part for key, part in spec.items() if key not in _OURS}
    rows = [_row(row) for row in values if isinstance(row, Mapping)]
    if _FORBIDDEN & spec["data"].keys() or _names_forbidden(rest):
        return None
    return {**rest, "width": _WIDTH, "data": {"values": rows}, "config": _STYLE}


def clean_svg(svg: str) -> str | None:
    """Return the drawing with known shapes and attributes only; None if it is not plain SVG."""
    if not svg or len(svg) > MAX_SVG_CHARS or "<!" in svg:
        return None
    try:
        root = ElementTree.fromstring(svg)  # noqa: S314 - no document type, so no entities
    except ElementTree.ParseError:
        return None
    cleaned = _cleaned(root)
    if cleaned is None or cleaned.tag != "svg":
        return None
    return ElementTree.tostring(cleaned, encoding="unicode")


def _row(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        str(key): plain(value) if isinstance(value, str) else value
        for key, value in row.items()
        if value is None or isinstance(value, str | int | float)
    }


def _names_forbidden(part: object) -> bool:
    if isinstance(part, Mapping):
        return any(key in _FORBIDDEN or _names_forbidden(inner) for key, inner in part.items())
    if isinstance(part, list | tuple):
        return any(_names_forbidden(inner) for inner in part)
    return False


async def _drawn(specs: list[dict[str, Any]]) -> list[str | None]:
    if not specs:
        return []
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-m", "tidings.reports.draw"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={"TZ": "UTC"},
    )
    try:
        async with asyncio.timeout(DRAW_SECONDS):
            output, _ = await child.communicate(msgspec.json.encode(specs))
        return msgspec.json.decode(output, type=list[str | None])
    except (TimeoutError, msgspec.DecodeError):
        return [None] * len(specs)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


def _cleaned(element: ElementTree.Element) -> ElementTree.Element | None:
    name = element.tag.removeprefix(f"{{{_SVG}}}")
    if name not in _ELEMENTS:
        return None
    kept = {
        key: value
        for key, value in element.attrib.items()
        if key in _ATTRIBUTES and _PLAIN_VALUE.fullmatch(value)
    }
    copy = ElementTree.Element(name, kept)
    copy.text = element.text if name in {"text", "tspan", "title", "desc"} else None
    copy.extend(child for child in map(_cleaned, element) if child is not None)
    return copy
