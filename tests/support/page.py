"""Reads a usage page as a reader's programs do: its elements, and the CSV files in its links."""

from __future__ import annotations

import csv
import io
from base64 import b64decode
from dataclasses import dataclass, field
from html.parser import HTMLParser

CSV = "data:text/csv;charset=utf-8;base64,"


@dataclass
class Page(HTMLParser):
    """A parsed page: each tag with its attributes, and the text."""

    html: str
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def csv_files(self) -> dict[str, list[dict[str, str]]]:
        """The rows of each CSV file, by its name."""
        return {
            attributes["download"]: list(csv.DictReader(io.StringIO(_decoded(attributes["href"]))))
            for tag, attributes in self.tags
            if tag == "a" and "download" in attributes
        }


def _decoded(link: str) -> str:
    assert link.startswith(CSV)
    return b64decode(link.removeprefix(CSV)).decode("utf-8-sig")
