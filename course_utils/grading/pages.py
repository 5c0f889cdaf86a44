"""HTML and CSV of what strangers wrote: everything escaped, nothing that a browser or a spreadsheet would carry out."""

import csv
import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import jinja2

from course_utils.data.records import atomic_writer

FORMULA = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "\n",
    "＝",
    "＋",
    "－",
    "＠",
)  # what spreadsheets take for a formula's beginning
TURNS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # the direction of writing


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["seen"] = visible
    return environment


def write_page(template: str, path: Path, **values) -> None:
    """Render a template of this folder into a file."""
    page = _environment().get_template(template).render(**values)
    with atomic_writer(path) as file:
        file.write(page)


def visible(text: str) -> str:
    """Without control characters and without those that turn the direction of writing, lines and tabs apart."""
    return "".join(
        "�" if mark in TURNS or (unicodedata.category(mark) in ("Cc", "Cs") and mark not in "\n\t") else mark
        for mark in text
    )


def cell(value) -> str | float | int:
    """A value for a spreadsheet: numbers as they are, text that would be a formula behind an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, int | float):
        return value
    text = " ".join(visible(str(value)).split())
    return "'" + text if text.startswith(FORMULA) else text


def number_cell(number: str) -> str:
    """A student's number: with a tab behind it where a spreadsheet would drop zeros or round it (12 digits and more)."""
    text = str(cell(number))
    return text + "\t" if text.isdigit() and (len(text) >= 12 or text.startswith("0")) else text


def write_csv(path: Path, header: list[str], rows: Iterable[list]) -> None:
    """A CSV that spreadsheets open as UTF-8. The cells are taken as they are: see `cell`."""
    with atomic_writer(path) as file:
        file.write("\ufeff")
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(header)
        writer.writerows(rows)
