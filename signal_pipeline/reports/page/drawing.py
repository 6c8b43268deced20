"""Draws a chart: turns a Vega-Lite specification into SVG, without a network.

So the page needs no script. docs/decisions.md says why the charts are not drawn in the browser.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Any
from xml.etree import ElementTree

from signal_pipeline.system.extras import explain_missing

_SVG = "http://www.w3.org/2000/svg"
_SHAPES = frozenset(
    f"{{{_SVG}}}{name}"
    for name in ("svg", "g", "path", "line", "rect", "circle", "text", "tspan", "title")
)
_LOOKS = re.compile(
    "class|d|fill|fill-opacity|font-(family|size|weight)|height|opacity|stroke|text-anchor"
    "|stroke-(dasharray|miterlimit|opacity|width)|transform|version|viewBox|width|x|x2|y|y2"
)


def check_drawing() -> None:
    """Raise MissingExtraError if the library that draws is not installed; import nothing."""
    if find_spec("vl_convert") is None:
        raise explain_missing(ModuleNotFoundError(name="vl_convert"))


def draw(spec: dict[str, Any], label: str) -> str:
    """Return a chart as an `svg` element, with `label` as its text for screen readers.

    Marks that have a description show it when a pointer rests on them.
    """
    import vl_convert  # Starts an engine of 80 MB; other reports need none of it.

    svg = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(svg)  # noqa: S314 - the text is the library's, from our own spec
    _clean(root)
    root.set("role", "img")
    root.set("aria-label", label)
    return ElementTree.tostring(root, encoding="unicode")


def _clean(root: ElementTree.Element) -> None:
    """Keep only shapes and their looks, whatever a later version of the library draws."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag not in _SHAPES or child.get("display") == "none":
                parent.remove(child)
        title = parent.get("aria-label") if parent.get("role") == "graphics-symbol" else None
        is_mark = parent.get("aria-roledescription") not in (None, "axis")
        for name in [name for name in parent.attrib if not _LOOKS.fullmatch(name)]:
            del parent.attrib[name]
        if title and is_mark:
            element = ElementTree.Element(f"{{{_SVG}}}title")
            element.text = title
            parent.insert(0, element)
