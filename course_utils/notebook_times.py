"""The table of what each section of each notebook costs, `docs/timing.md`, made from `docs/timing.json`."""

import json
import platform

import psutil

from course_utils import paths
from course_utils.data.records import atomic_writer
from course_utils.notebook_runs import Section
from course_utils.profiles import PROFILES

TABLE = paths.ROOT / "docs" / "timing.md"
TITLES = {"ci": "CI", "classroom": "课堂", "gpu": "GPU"}
HEAD = """# 每一节要多久

由 `course notebooks time` 测量并写下，请不要手改。时间是一节里所有代码格从上到下运行一遍的时间（不算读和想），内存是内核和它启动的训练进程合起来的常驻内存的最大值。三种规模见 `course_utils/profiles.py`；没有测过的写“未测”。
"""


def machine(profile: str) -> str:
    """The machine in words, without its name."""
    cores, memory = psutil.cpu_count(logical=False) or psutil.cpu_count(), psutil.virtual_memory().total / 2**30
    words = f"{cores} 核 CPU（{platform.machine()}），{memory:.0f} GB 内存，{platform.system()}"
    if profile == "gpu":
        import torch

        words = f"{torch.cuda.get_device_name()}，{words}" if torch.cuda.is_available() else words
    return f"{words}，Python {platform.python_version()}"


def renew(name: str, profile: str, sections: list[Section]) -> None:
    """Put what the notebook `name` took into the table; what other profiles and notebooks took stays."""
    file = TABLE.with_suffix(".json")
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"machines": {}, "notebooks": {}}
    known["machines"][profile] = machine(profile)
    had = known["notebooks"].get(name, {})
    lines = {section.title: had.get(section.title, {}) for section in sections}  # a section that is gone goes
    for section in sections:
        lines[section.title][profile] = {"seconds": round(section.seconds, 1), "mb": section.mb}
    known["notebooks"][name] = lines
    with atomic_writer(file) as out:
        json.dump(known, out, ensure_ascii=False, indent=1, sort_keys=False)
        out.write("\n")
    with atomic_writer(TABLE) as out:
        out.write(table(known))


def table(known: dict) -> str:
    """The Markdown of the table."""
    lines = [HEAD]
    lines += [f"- {TITLES[name]}：{known['machines'][name]}" for name in PROFILES if name in known["machines"]]
    for name, sections in sorted(known["notebooks"].items()):
        lines += [f"\n## {name}\n", f"| 节 | {' | '.join(TITLES.values())} |", "|---|" + "---|" * len(TITLES)]
        lines += [
            f"| {title} | {' | '.join(_cell(costs.get(profile)) for profile in PROFILES)} |"
            for title, costs in sections.items()
        ]
        totals = {p: [costs[p] for costs in sections.values() if p in costs] for p in PROFILES}
        lines.append(f"| **合计** | {' | '.join(_total(costs, len(sections)) for costs in totals.values())} |")
    return "\n".join(lines) + "\n"


def _total(costs: list[dict], sections: int) -> str:
    if len(costs) < sections:
        return "未测"
    return _cell({"seconds": sum(c["seconds"] for c in costs), "mb": max(c["mb"] for c in costs)})


def _cell(cost: dict | None) -> str:
    if cost is None:
        return "未测"
    seconds = cost["seconds"]
    spent = f"{seconds:.0f} 秒" if seconds < 90 else f"{seconds / 60:.1f} 分钟"
    return f"{spent}，{cost['mb'] / 1024:.1f} GB"
