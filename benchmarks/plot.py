# SPDX-License-Identifier: Apache-2.0
"""The plot of the manual's page on performance, as SVG.

Text and lines that must be read on a light and on a dark page have a middle gray.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from benchmarks import report
from benchmarks.report import Row

#: What the bars show, by driver, and their colors.
BARS = {
    "floor": ("libvirt alone", "#8a8f98"),
    "stable": ("stable rescue", "#2a9d8f"),
    "stock": ("stock rescue", "#d1643e"),
}
WIDTH, LEFT, RIGHT = 720, 170, 70
BAR, GAP, TOP = 12, 14, 40
GRAY = "#7d8590"


def downtime(rows: Sequence[Row], operation: str) -> str:
    """Return bars of the median downtimes of an operation, in seconds."""
    groups = [
        (
            row["case"],
            {
                name: report.Figure.of(each["downtime"] for each in samples).median
                for name, samples in row["measured"][operation].items()
            },
        )
        for row in rows
        if row["benchmark"] == "downtime"
    ]
    longest = max((max(bars.values()) for _case, bars in groups), default=1.0)
    scale = (WIDTH - LEFT - RIGHT) / longest
    height = TOP + len(groups) * (len(BARS) * BAR + GAP)
    title = f"Seconds without a guest during {operation}: medians"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
        f' width="{WIDTH}" height="{height}" role="img" font-family="sans-serif"'
        ' font-size="11">',
        f"<title>{escape(title)}</title>",
        *_legend(),
    ]
    y = TOP
    for case, bars in groups:
        middle = y + len(BARS) * BAR / 2 + 4
        parts.append(_text(LEFT - 8, middle, case, anchor="end"))
        for name, (_words, color) in BARS.items():
            width = max(bars[name] * scale, 1)
            parts.append(
                f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 2}"'
                f' fill="{color}"/>'
            )
            parts.append(_text(LEFT + width + 5, y + BAR - 3, f"{bars[name]:.2f}"))
            y += BAR
        y += GAP
    return "\n".join([*parts, "</svg>", ""])


def _legend() -> list[str]:
    parts = []
    for number, (words, color) in enumerate(BARS.values()):
        x = LEFT + number * 140
        parts.append(f'<rect x="{x}" y="12" width="12" height="10" fill="{color}"/>')
        parts.append(_text(x + 18, 21, words))
    return parts


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{GRAY}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )
