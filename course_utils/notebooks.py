"""From the sources in `solutions/NN_name.py` (jupytext's percent format) to the learner's notebooks.

A learner's version lacks what stands between `### BEGIN SOLUTION` and `### END SOLUTION`, and the text of the markdown
cells tagged `answer:NN-k`. Building twice gives the same bytes.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from course_utils import paths
from course_utils.data.records import atomic_writer
from course_utils.errors import ConfigError

SOLUTIONS, NOTEBOOKS = paths.ROOT / "solutions", paths.ROOT / "notebooks"
WRITE_CODE, WRITE_ANSWER = "...  # 在这里写你的代码", "（在这里写你的回答）"
SOLUTION = re.compile(r"^([ \t]*)### BEGIN SOLUTION\n.*?^\1### END SOLUTION$", re.DOTALL | re.MULTILINE)
ANSWER_TAG = "answer:"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def sources(names: Sequence[str] = ()) -> list[Path]:
    """The sources called so ("03_sentiment_model" or "03"), all without names. Raises `ConfigError`."""
    found = sorted(SOLUTIONS.glob("[0-9][0-9]_*.py"))
    for name in names:
        if not any(_is(path, name) for path in found):
            raise ConfigError(f"没有叫「{name}」的笔记本。有：{'、'.join(path.stem for path in found)}。")
    return [path for path in found if not names or any(_is(path, name) for name in names)]


def _is(path: Path, name: str) -> bool:
    return name in (path.stem, path.stem[:2])


def read(source: Path):
    """The solved notebook of a source, without outputs. Raises `ConfigError` for markers that do not match."""
    import jupytext

    notebook = jupytext.reads(source.read_text(encoding="utf-8"), fmt="py:percent")
    notebook.update(metadata=METADATA, nbformat=4, nbformat_minor=5)
    for cell in notebook.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = {"tags": tags} if tags else {}
        left = SOLUTION.sub("", cell.source)
        if "BEGIN SOLUTION" in left or "END SOLUTION" in left:
            raise ConfigError(
                f"{source.name}：### BEGIN SOLUTION 和 ### END SOLUTION 要成对，缩进相同，各占一行：\n{cell.source}"
            )
    _number(notebook)
    return notebook


def _number(notebook) -> None:
    """Give every cell an id that says where it stands, `s3-07`, or which answer it holds, `answer-04-1`."""
    section = place = 0
    for cell in notebook.cells:
        if title(cell):
            section, place = section + 1, 0
        cell.id = (answer_of(cell) or f"s{section}-{place:02}").replace(":", "-")
        place += 1


def title(cell) -> str | None:
    """The last `## ` heading in a markdown cell."""
    if cell.cell_type == "markdown":
        found = re.findall(r"^## +(.+)$", cell.source, re.MULTILINE)
        return found[-1].strip() if found else None
    return None


def with_sections(notebook) -> Iterator[tuple[str, object]]:
    """Every cell with the heading of its section; what comes before the first heading is 开头."""
    section = "开头"
    for cell in notebook.cells:
        section = title(cell) or section
        yield section, cell


def answer_of(cell) -> str | None:
    """The tag of a cell for a free answer, such as "answer:04-1"."""
    return next((tag for tag in cell.metadata.get("tags", []) if tag.startswith(ANSWER_TAG)), None)


def learner(notebook):
    """What is left of a solved notebook for the learner."""
    for cell in notebook.cells:
        if answer_of(cell):
            cell.source = WRITE_ANSWER
        elif cell.cell_type == "code":
            cell.source = SOLUTION.sub(rf"\1{WRITE_CODE}", cell.source)
            cell.outputs, cell.execution_count = [], None
    return notebook


def text(notebook) -> str:
    """The file of a notebook."""
    import nbformat

    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def write(notebook, path: Path) -> None:
    with atomic_writer(path) as file:
        file.write(text(notebook))


def build(source: Path) -> Path:
    """Write the learner's notebook of a source."""
    path = NOTEBOOKS / f"{source.stem}.ipynb"
    write(learner(read(source)), path)
    return path
