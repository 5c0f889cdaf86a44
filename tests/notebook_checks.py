"""What the tests ask of the course's text: functions that take text or a notebook, and give the problems they see."""

import re
import statistics
import subprocess
import sys
from functools import cache

from course_utils import notebooks, paths

HAN = r"[\u4e00-\u9fff]"
ALLOWED = "<!-- 固定 -->"  # on a line whose numbers are constants of the text
UNITS = "条|步|秒|分钟|小时|MB|GB|行|件|倍|%|个 token|个参数"
NUMBER = re.compile(rf"(?<![\d.第A-Za-z/-])(?<!第 )(?:\d[\d,]*\.\d+|\d[\d,.]*(?=\s?(?:{UNITS})))")
IN_REPOSITORY = re.compile(r"`((?:course_utils|datasets|benchmarks|docs|notebooks|solutions|tests)/[\w./-]*)`")
DOTTED = re.compile(r"`(course_utils(?:\.\w+)+)(?:\(.*?\))?`")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def prose(text: str) -> str:
    """Markdown without code, formulas, addresses and comments; lines stay lines."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->|<[^>\n]+>", "", text)
    text = re.sub(r"`[^`\n]*`|\$[^$\n]+\$", "‖", text)
    return re.sub(r"\]\([^)]*\)|https?://\S+", "]", text)


def unquoted(text: str) -> str:
    return re.sub(r"“[^”\n]*”|「[^」\n]*」|《[^》\n]*》", "‖", text)


def half_width(text: str) -> list[str]:
    """Half-width punctuation beside a Chinese character."""
    mark = rf"(?:{HAN}[*_]*[,;:?!](?!\d)|[,;:?!][*_]* ?{HAN}|{HAN}\.(?:\s|$|{HAN}))"
    return [_around(text, found) for found in re.finditer(mark, text, re.MULTILINE)]


@cache
def forbidden() -> dict[str, str]:
    """Each variant that is not written, and what is written for it: the first and last columns of `docs/terms.md`."""
    found = {}
    for line in (paths.ROOT / "docs" / "terms.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[0] not in ("中文", "---"):
            found |= {variant: cells[0] for variant in cells[3].split("、") if variant}
    return found


def wrong_terms(text: str) -> list[str]:
    """Variants that the term list does not allow. What the platform calls its pages and the course its name may stay."""
    text = re.sub("模型精调|精调实战课|精调平台", "‖", unquoted(text))
    return [f"{_around(text, hit)}（写「{term}」）" for v, term in forbidden().items() for hit in re.finditer(v, text)]


def bare_numbers(text: str) -> list[str]:
    """Numbers in prose that look like a run's: decimals, percentages, counts with a unit. Not ordinals, quotes, tables
    that the text itself draws, headings, or a line with the mark for constants.
    """
    lines = [line for line in text.splitlines() if ALLOWED not in line and not re.match(r"\s*(\||#)", line)]
    told = re.sub(r"95\s?% ?的?[ *]*(?:置信)?区间", "‖", unquoted(prose("\n".join(lines))))  # the course knows no other
    return [_around(told, found) for found in NUMBER.finditer(told)]


def says_something(cell) -> bool:
    """Whether a markdown cell has more than headings, and is no place for an answer."""
    lines = [line for line in cell.source.splitlines() if line.strip() and not line.startswith("#")]
    return cell.cell_type == "markdown" and bool(lines) and not notebooks.answer_of(cell)


def form(cells) -> list[str]:
    """The budgets of a notebook."""
    code = [cell for cell in cells if cell.cell_type == "code"]
    lengths = [len(re.sub(r" *### (BEGIN|END) SOLUTION\n?", "", cell.source).splitlines()) for cell in code]
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    asked = {
        f"{len(cells)} cells, not 25 to 45": 25 <= len(cells) <= 45,
        f"{len(code)} code cells in {len(cells)}": 2 * len(code) <= len(cells),
        f"code cells of {statistics.median(lengths)} lines at the median": statistics.median(lengths) <= 8,
        f"a code cell of {max(lengths)} lines": max(lengths) <= 30,
        "does not begin with `# 第 N 章　`": bool(re.match(r"# 第 \d 章　", cells[0].source)),
        "has no `## 小结` and `## 练习` at its end": bool(re.search(r"^## 小结$.*^## 练习$", text, re.M | re.S)),
    }
    silent = [
        f"nothing is said after {cell.id}: {cell.source[:60]}"
        for cell, after in zip(cells, [*cells[1:], cells[0]], strict=True)
        if cell.cell_type == "code" and (after is cells[0] or not says_something(after))
    ]
    return [problem for problem, good in asked.items() if not good] + silent


def not_restartable(notebook) -> list[str]:
    """Names that a section uses and neither imports nor makes, so that it cannot be the first one run."""
    sections: dict[str, list[str]] = {}
    for title, cell in notebooks.with_sections(notebook):
        if cell.cell_type == "code":
            sections.setdefault(title, []).append(cell.source)
    return [f"{title}: {name}" for title, code in sections.items() for name in _undefined("\n".join(code))]


def _undefined(code: str) -> list[str]:
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select=F821", "--output-format=concise"]
    done = subprocess.run(
        [*command, "--config=builtins=['display', 'get_ipython']", "--stdin-filename=section.py", "-"],
        input=code, capture_output=True, text=True, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    return sorted(set(re.findall(r"Undefined name `(\w+)`", done.stdout)))


def dead_links(text: str) -> list[str]:
    """What a notebook's text points to and is not there. A learner reads it in the workspace, beside other notebooks."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    dead = [path for path in IN_REPOSITORY.findall(text) if not (paths.ROOT / path).exists()]
    dead += [name for name in DOTTED.findall(text) if not _is_there(name)]
    for target in LINK.findall(text):
        outside = re.match(r"https?://|#", target)
        if not outside and ("/" in target or not (notebooks.SOLUTIONS / target).with_suffix(".py").exists()):
            dead.append(target)
    return dead


def _is_there(name: str) -> bool:
    """Whether `course_utils.a.b` is a module, or `b` a name in the module `course_utils.a`. Nothing is imported."""
    *folders, last = name.split(".")
    place = paths.ROOT.joinpath(*folders)
    if (place / f"{last}.py").exists() or (place / last / "__init__.py").exists():
        return True
    for file in (place.with_suffix(".py"), place / "__init__.py"):
        if file.exists() and re.search(
            rf"(?:^(?:def|class) |^|import .*\b){last}\b", file.read_text(encoding="utf-8"), re.M
        ):
            return True
    return False


def _around(text: str, found: re.Match) -> str:
    return text[max(0, found.start() - 12) : found.end() + 12].replace("\n", "⏎")
