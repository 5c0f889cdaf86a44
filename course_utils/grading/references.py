"""The free questions of a chapter and the course's own answers, from the notebook's source in `solutions/`."""

import importlib.util
from dataclasses import dataclass
from functools import cache

from course_utils.errors import ConfigError
from course_utils.notebooks import ANSWER_TAG, answer_of, read, sources


@dataclass(frozen=True)
class FreeQuestion:
    """prompt: the text above the cell for the answer, which may ask several questions. answer: the course's own."""

    prompt: str
    answer: str


@cache
def free_questions(notebook: str) -> dict[str, FreeQuestion]:
    """exercise, such as "05-1" -> its question, in order; empty for a chapter that there is not. Raises `ConfigError`."""
    if importlib.util.find_spec("jupytext") is None:
        raise ConfigError("没有安装 jupytext，读不了 solutions 里的参考回答。请运行：pip install jupytext")
    found, prompt = {}, ""
    for source in [path for path in sources() if path.stem[:2] == notebook]:
        for cell in read(source).cells:
            tag = answer_of(cell)
            if tag:
                found[tag.removeprefix(ANSWER_TAG)] = FreeQuestion(_plain(prompt), _plain(cell.source))
            elif cell.cell_type == "markdown":
                prompt = cell.source
    return found


def _plain(text: str) -> str:
    """Markdown for a page that shows it as it is."""
    return text.replace("**", "")
