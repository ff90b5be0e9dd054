"""The picture of the runs: one bar for each server and concurrency, from zero."""

from typing import Any

import vl_convert

AT_ONCE = (16, 64)
COLOURS = {
    "every step and event, before it is shown": "#1b6e53",
    "the ended run": "#c58b2a",
    "its events": "#c58b2a",
    "nothing": "#9aa3ad",
}


def runs_chart(rows: list[dict[str, Any]]) -> str:
    """Return an SVG of the runs a second, the fastest server first."""
    shown = [row for row in rows if row["at_once"] in AT_ONCE]
    return str(vl_convert.vegalite_to_svg(_spec(shown), allowed_base_urls=[]))


def _spec(rows: list[dict[str, Any]]) -> dict[str, Any]:
    values = [
        {
            "server": row["server"],
            "keeps": f"on disk: {row['keeps']}",
            "at_once": f"{row['at_once']} at once",
            "runs": round(row["runs_per_second"]),
        }
        for row in rows
    ]
    axis = {"labelLimit": 300, "title": None, "ticks": False, "domain": False}
    y = {"field": "server", "type": "nominal", "sort": {"op": "max", "field": "runs"}}
    y["sort"]["order"] = "descending"
    x = {"field": "runs", "type": "quantitative", "title": "one-tool runs a second, one core"}
    bars = {
        "mark": {"type": "bar", "height": 14},
        "encoding": {
            "color": {
                "field": "keeps",
                "type": "nominal",
                "title": None,
                "scale": {
                    "domain": [f"on disk: {keeps}" for keeps in COLOURS],
                    "range": list(COLOURS.values()),
                },
                "legend": {"orient": "bottom", "columns": 2, "labelLimit": 300},
            }
        },
    }
    labels = {
        "mark": {"type": "text", "align": "left", "dx": 4, "fontSize": 10},
        "encoding": {"text": {"field": "runs", "type": "quantitative"}},
    }
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "data": {"values": values},
        "facet": {"column": {"field": "at_once", "title": None, "header": {"labelFontSize": 12}}},
        "spec": {
            "width": 280,
            "height": {"step": 24},
            "encoding": {"y": y | {"axis": axis}, "x": x},
            "layer": [bars, labels],
        },
        "background": "white",
        "config": {"view": {"stroke": None}, "axis": {"grid": False}},
    }
