# SPDX-License-Identifier: Apache-2.0
"""Draw the diagrams of the design page.

The SVG files are committed, so that building the manual needs no further program.
After a change here, write them again::

    python doc/source/contributor/diagrams.py
"""

from html import escape
from pathlib import Path

FOLDER = Path(__file__).parent

_HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" \
width="{width}" height="{height}" font-family="sans-serif" font-size="13" fill="#222">
<style>text {{ paint-order: stroke; stroke: white; stroke-width: 3px }}
rect + text, rect + text + text, rect + text + text + text {{ stroke: none }}</style>
<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" \
markerHeight="8" orient="auto"><path d="M0,0L8,4L0,8z" fill="#444"/></marker></defs>
<rect width="100%" height="100%" fill="white"/>
"""


class Drawing:
    """An SVG picture to which shapes are added."""

    def __init__(self, width: int, height: int) -> None:
        self._parts = [_HEAD.format(width=width, height=height)]

    def text(
        self, x: int, y: int, text: str, anchor: str = "middle", style: str = ""
    ) -> None:
        """Write one line of text; y is its baseline."""
        self._parts.append(
            f'<text x="{x}" y="{y}" text-anchor="{anchor}" {style}>'
            f"{escape(text)}</text>\n"
        )

    def box(
        self,
        x: int,
        y: int,
        width: int,
        height: int,
        *lines: str,
        fill: str = "#eef3fa",
    ) -> None:
        """Draw a box with lines of text in its center."""
        self._parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="4" '
            f'fill="{fill}" stroke="#557"/>\n'
        )
        top = y + height // 2 + 5 - 8 * (len(lines) - 1)
        for number, line in enumerate(lines):
            style = 'font-weight="bold"' if number == 0 else 'font-size="11"'
            self.text(x + width // 2, top + 16 * number, line, style=style)

    def band(self, x: int, y: int, width: int, height: int, fill: str) -> None:
        """Draw a rectangle without a frame."""
        self._parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{fill}"/>\n'
        )

    def line(self, *points: tuple[int, int], arrow: bool, dashed: bool = False) -> None:
        """Draw a line through points, with an arrow head at the last one."""
        path = " ".join(f"{x},{y}" for x, y in points)
        marker = ' marker-end="url(#head)"' if arrow else ""
        dashes = ' stroke-dasharray="5,4"' if dashed else ""
        self._parts.append(
            f'<polyline points="{path}" fill="none" stroke="#444"{dashes}{marker}/>\n'
        )

    def arrow(self, *points: tuple[int, int], dashed: bool = False) -> None:
        """Draw an arrow through points."""
        self.line(*points, arrow=True, dashed=dashed)

    def svg(self) -> str:
        """Return the picture as SVG."""
        return "".join(self._parts) + "</svg>\n"


def overview() -> str:
    """Return the way from a request to a rescued server."""
    drawing = Drawing(760, 230)
    for number, name in enumerate(
        ("image properties", "original definition", "block devices")
    ):
        drawing.box(10, 20 + 50 * number, 150, 36, name, fill="#f6f6f6")
        drawing.arrow((160, 38 + 50 * number), (208, 68 + 20 * number))
    drawing.box(210, 50, 120, 76, "RescuePlan", "decides everything,", "or refuses")
    drawing.arrow((330, 88), (368, 88))
    drawing.box(370, 50, 130, 76, "prepare", "medium, volumes,", "NVRAM, record")
    drawing.arrow((500, 88), (538, 88))
    drawing.box(540, 50, 90, 76, "commit", "stop, start", fill="#fbeeda")
    drawing.arrow((630, 88), (668, 88))
    drawing.box(670, 66, 80, 44, "rescued", fill="#e7f4e4")
    drawing.box(210, 180, 420, 36, "the unchanged server", fill="#e7f4e4")
    for x, label in ((270, "refuse"), (435, "refuse"), (585, "roll back")):
        drawing.arrow((x, 126), (x, 178), dashed=True)
        drawing.text(x + 6, 156, label, "start", 'font-size="11"')
    drawing.text(355, 30, "the guest runs", style='font-style="italic"')
    drawing.text(585, 30, "the guest is off", style='font-style="italic"')
    return drawing.svg()


_LAYERS = (
    ("cmd/", "operator's commands"),
    ("tempest/", "tempest plugin: talks to APIs only"),
    ("compute/", "manager mixins: guard, recovery, stalled rescues, block devices"),
    ("virt/", "StableRescueDriver: sequences, transitions, preparation"),
    ("storage/", "rescue medium, volumes, config drive, NVRAM copy, record"),
    ("nova_internals/", "every private part of Nova that is called"),
    ("plan.py", "RescueRequest and RescuePlan"),
    ("domain/", "libvirt domain XML as values: lxml only, no I/O"),
    ("image_meta.py, steps.py, outcome.py ...", "what all of them share"),
    ("conf.py, properties.py, exception.py", "options, values, errors"),
)


def layers() -> str:
    """Return the layers, the highest first."""
    drawing = Drawing(640, 34 * len(_LAYERS) + 20)
    for number, (name, purpose) in enumerate(_LAYERS):
        y = 10 + 34 * number
        fill = "#fbeeda" if name == "domain/" else "#eef3fa"
        drawing.box(10, y, 620, 30, fill=fill)
        drawing.text(24, y + 20, name, "start", 'font-weight="bold"')
        drawing.text(616, y + 20, purpose, "end", 'font-size="12"')
    return drawing.svg()


_ACTORS = ("API, database", "manager mixin", "driver", "storage", "libvirt")
_API, _MANAGER, _DRIVER, _STORAGE, _LIBVIRT = range(len(_ACTORS))
#: Messages (from, to, text); an event's name alone; "off" and "on" for the guest.
_MESSAGES: tuple[tuple[int, int, str] | str, ...] = (
    (_API, _MANAGER, "rescue_instance"),
    (_MANAGER, _DRIVER, "prepare_rescue"),
    "compute_rescue_plan",
    (_DRIVER, _LIBVIRT, "read the definition"),
    (_DRIVER, _DRIVER, "check the image, derive the plan, or refuse"),
    "compute_rescue_prepare",
    (_DRIVER, _STORAGE, "record: preparing"),
    (_DRIVER, _STORAGE, "volumes, medium, config drive"),
    (_DRIVER, _LIBVIRT, "define the rescue, put the original back"),
    (_DRIVER, _STORAGE, "record: prepared"),
    (_MANAGER, _API, "lock the instance; still rescuing?"),
    (_MANAGER, _DRIVER, "rescue (Nova's rescue_instance)"),
    "compute_rescue_power_off",
    (_DRIVER, _STORAGE, "record: beginning; unrescue.xml"),
    (_DRIVER, _DRIVER, "plug NICs"),
    (_DRIVER, _LIBVIRT, "shut down"),
    "off",
    "compute_rescue_boot",
    (_DRIVER, _LIBVIRT, "define and start the rescue"),
    "on",
    (_DRIVER, _STORAGE, "record: rescued"),
    (_MANAGER, _API, "status RESCUE"),
    "",
    (_API, _MANAGER, "unrescue_instance"),
    (_MANAGER, _DRIVER, "unrescue"),
    "compute_unrescue_power_off",
    (_DRIVER, _STORAGE, "record: ending"),
    (_DRIVER, _DRIVER, "plug NICs"),
    (_DRIVER, _LIBVIRT, "shut down the rescue system"),
    "off",
    "compute_unrescue_boot",
    (_DRIVER, _LIBVIRT, "define and start the original"),
    "on",
    (_DRIVER, _STORAGE, "remove medium and unrescue.xml; record: ended"),
    (_MANAGER, _API, "status ACTIVE, or SHUTOFF"),
    (_MANAGER, _DRIVER, "remove_rescue_record"),
)


def sequence() -> str:
    """Return a rescue and an unrescue as a sequence diagram."""
    step, left, gap = 30, 270, 190
    height = 60 + step * (len(_MESSAGES) + 1)
    drawing = Drawing(left + gap * (len(_ACTORS) - 1) + 110, height)
    places = [left + gap * number for number in range(len(_ACTORS))]
    off = 0
    for number, message in enumerate(_MESSAGES):
        y = 70 + step * number
        if message == "off":
            off = y
        elif message == "on":
            drawing.band(places[-1] - 6, off, 12, y - off, "#d9534f")
            drawing.band(0, off, places[-1], y - off, "#fdf1f0")
            drawing.text(places[-1] + 14, (off + y) // 2 + 4, "guest is off", "start")
    for place, actor in zip(places, _ACTORS, strict=True):
        drawing.line((place, 40), (place, height - 10), arrow=False, dashed=True)
        drawing.box(place - 65, 10, 130, 30, actor)
    drawing.text(8, 30, "event", "start", 'font-weight="bold" fill="#275"')
    for number, message in enumerate(_MESSAGES):
        y = 70 + step * number
        if isinstance(message, tuple):
            _message(drawing, y, places, *message)
        elif message not in ("off", "on", ""):
            drawing.text(8, y + 4, message, "start", 'font-size="12" fill="#275"')
    return drawing.svg()


def _message(
    drawing: Drawing, y: int, places: list[int], source: int, target: int, text: str
) -> None:
    """Draw one message; one to oneself is a loop."""
    start, end = places[source], places[target]
    if source == target:
        drawing.arrow(
            (start, y - 8), (start + 22, y - 8), (start + 22, y + 4), (start, y + 4)
        )
        drawing.text(start + 28, y + 2, text, "start", 'font-size="12"')
        return
    drawing.arrow((start, y), (end, y))
    x = min(start, end) + 8
    drawing.text(x, y - 5, text, "start", 'font-size="12"')


def states() -> str:
    """Return the states of the record and the transitions between them."""
    drawing = Drawing(860, 300)
    names = ("preparing", "prepared", "beginning", "rescued", "ending", "ended")
    places = {name: 20 + 145 * number for number, name in enumerate(names)}
    for name, x in places.items():
        running = name in ("preparing", "prepared", "rescued")
        drawing.box(x, 120, 95, 40, name, fill="#eef3fa" if running else "#fbeeda")
    for source, target, label in (
        ("preparing", "prepared", "prepare"),
        ("prepared", "beginning", "begin"),
        ("beginning", "rescued", "begin"),
        ("rescued", "ending", "end"),
        ("ending", "ended", "end"),
    ):
        start = places[source] + 95
        drawing.arrow((start, 140), (places[target], 140))
        drawing.text(start + 24, 132, label, style='font-size="11"')
    drawing.box(20, 240, 240, 34, "no record", fill="#f6f6f6")
    drawing.box(720, 240, 120, 34, "no record", fill="#f6f6f6")
    drawing.arrow((40, 240), (40, 160))
    drawing.text(46, 212, "prepare", "start", 'font-size="11"')
    drawing.arrow((95, 160), (95, 238), dashed=True)
    drawing.arrow((212, 160), (212, 238), dashed=True)
    drawing.text(153, 196, "discard", style='font-size="11"')
    drawing.arrow((792, 160), (792, 240))
    drawing.text(786, 206, "remove_rescue_record", "end", 'font-size="11"')
    # Roll back: from prepared and beginning, above the boxes.
    drawing.arrow((230, 120), (230, 40), (792, 40), (792, 118), dashed=True)
    drawing.line((357, 120), (357, 40), arrow=False, dashed=True)
    drawing.text(500, 34, "roll back", style='font-size="11"')
    drawing.arrow((640, 120), (640, 80), (520, 80), (520, 118), dashed=True)
    drawing.text(580, 74, "resume", style='font-size="11"')
    drawing.arrow((480, 160), (480, 196), (530, 196), (530, 162), dashed=True)
    drawing.text(505, 212, "resume (host rebooted)", style='font-size="11"')
    return drawing.svg()


#: The files and what draws each.
DIAGRAMS = {
    "overview.svg": overview,
    "layers.svg": layers,
    "sequence.svg": sequence,
    "states.svg": states,
}

if __name__ == "__main__":
    for name, draw in DIAGRAMS.items():
        (FOLDER / name).write_text(draw(), encoding="utf-8")
