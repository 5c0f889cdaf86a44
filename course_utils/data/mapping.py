"""Which column of a learner's table is which field, guessed from the columns' names."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

from course_utils.data.formats import layout
from course_utils.data.records import FIELDS

MEANING = {"instruction": "指令", "input": "输入", "output": "答案", "system": "系统提示", "history": "历史对话"}
# For each field the names of its column, the surest first; compared as `_plain` writes them. A name is in one list.
NAMES = {
    "instruction": "instruction prompt 指令 提示词 提示 任务 task",
    "input": (
        "input text content context 输入 输入文本 文本 内容 正文 原文 评论 评论内容 评价 句子 文章 review reviewtext "
        "comment sentence passage article document 摘录 简介 描述 description desc 标题 title subject headline"
    ),
    "output": (
        "output label answer response completion target 输出 标签 答案 回答 回复 答复 标注 "
        "answers reply labels category class 类别 分类 情感 情感倾向 sentiment summary 摘要 translation 译文"
    ),
    "system": "system systemprompt 系统 系统提示 系统提示词 角色设定",
    "history": "history 历史 历史对话 对话历史 历史记录",
}
QUESTIONS = "question query 问题 提问 问句 q"  # the instruction when there is none, else the input


@dataclass(frozen=True)
class Mapping:
    """columns: column -> field, and constants: field -> text of every row, as `to_records` takes them.
    unmapped: the columns that no field takes.
    """

    columns: dict[str, str] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)
    unmapped: tuple[str, ...] = ()
    conversations: bool = False  # ShareGPT rows, which need no mapping

    def explain(self) -> str:
        """A short table for the learner: each column with its field, what is left over, what is missing."""
        if self.conversations:
            return "这是 ShareGPT 对话（conversations），不用映射。"
        taken = [f"{column} → {target}（{MEANING[target]}）" for column, target in self.columns.items()]
        taken += [
            f"每一行都用同样的文字 → {target}（{MEANING[target]}）：{text}" for target, text in self.constants.items()
        ]
        have = {*self.columns.values(), *self.constants}
        if self.unmapped:
            taken.append(f"没有用到的列：{'、'.join(self.unmapped)}。要一起用，请先把它们合并到上面的某一列。")
        if "output" not in have:
            taken.append("还没有答案：请指明哪一列是 output，例如 {'标注结果': 'output'}。")
        if not have & {"instruction", "input"}:
            taken.append("还没有问题：请指明哪一列是 instruction 或 input。")
        elif "instruction" not in have:
            taken.append(
                "没有指令列：模型只会看到输入。可以给每一行加同一句指令，例如 constants={'instruction': '判断情感'}。"
            )
        return "\n".join(taken)


def suggest(rows: Sequence[dict]) -> Mapping:
    """A mapping guessed from the columns' names: case, blanks, `_` and full width make no difference.

    At most one column for a field and one field for a column; of several candidates the surest name is taken, and the
    others are listed in `unmapped`. A column with a field's own name always has that field.
    """
    if layout(rows) == "sharegpt":
        return Mapping(conversations=True)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    found: dict[str, str] = {}  # field -> column
    for target in FIELDS:
        ranks = {name: rank for rank, name in enumerate(NAMES[target].split())}
        candidates = [column for column in columns if _plain(column) in ranks]
        if candidates:
            found[target] = min(candidates, key=lambda column: ranks[_plain(column)])
    question = next((column for column in columns if _plain(column) in QUESTIONS.split()), None)
    if question:
        _place_question(question, found)
    mapping = {column: target for target, column in found.items()}
    return Mapping(
        columns={column: mapping[column] for column in columns if column in mapping},
        unmapped=tuple(column for column in columns if column not in mapping),
    )


def _place_question(question: str, found: dict[str, str]) -> None:
    if "instruction" not in found:
        found["instruction"] = question
    elif "input" not in found:
        found["input"] = question


def _plain(name: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKC", str(name)).casefold() if c.isalnum())
