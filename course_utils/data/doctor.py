"""A look at every row before training: all problems at once, each with its row, its field and what to do."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from course_utils.data.cells import answer_path, cells, place, question_key, squeeze
from course_utils.data.lengths import token_lengths
from course_utils.data.mapping import Mapping
from course_utils.data.records import FIELDS, Record, from_sharegpt, read_history, sharegpt_mistakes, sources
from course_utils.data.symptoms import CONTROL, fix_mojibake, is_mojibake, label_key, personal_data
from course_utils.errors import DataError

ERROR, WARNING, HINT = "错误", "注意", "提示"  # training stops; the model learns something wrong; good to know
UNBALANCED = 3  # the largest label has this many times the rows of the smallest
ECHO = 10  # characters: a shorter question may well begin its answer


class Problem(NamedTuple):
    """row: 1 is the first, 0 stands for the data as a whole. field: the learner's column, or the turn.
    repairable: `repair(rows, mapping, kind)` mends it, and `undo` takes that back.
    """

    row: int
    field: str
    kind: str
    severity: str
    what: str
    fix: str
    repairable: bool = False


@dataclass(frozen=True)
class Report:
    """What `check` found, in the order of the rows; what concerns all of them comes first."""

    problems: list[Problem]
    n_rows: int

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.severity == ERROR]

    @property
    def ok(self) -> bool:
        """No 错误: training can begin."""
        return not self.errors

    @property
    def counts(self) -> dict[str, int]:
        """Kind -> how many problems, the most frequent first."""
        return dict(Counter(problem.kind for problem in self.problems).most_common())

    def table(self) -> pd.DataFrame:
        rows = [(p.row or "全部", p.field, p.severity, p.what, p.fix) for p in self.problems]
        return pd.DataFrame(rows, columns=["行", "字段", "程度", "问题", "怎么改"])

    def summary(self) -> str:
        """A few lines of Chinese: how many rows, and the kinds of problems by severity."""
        if not self.problems:
            return f"共 {self.n_rows} 行，没有发现问题。"
        lines = [f"共 {self.n_rows} 行，" + ("没有错误，可以训练。" if self.ok else "有错误，改好以后才能训练。")]
        for severity in (ERROR, WARNING, HINT):
            kinds = Counter(p.kind for p in self.problems if p.severity == severity)
            if kinds:
                lines.append(f"{severity}：" + "，".join(f"{kind} {n} 处" for kind, n in kinds.most_common()))
        mendable = dict.fromkeys(p.kind for p in self.problems if p.repairable)
        if mendable:
            lines.append(f"可以自动修复（能撤销）：{'、'.join(mendable)}。")
        return "\n".join(lines)


def check(
    rows: Sequence[dict],
    mapping: Mapping,
    tokenizer=None,
    max_length: int | None = None,
    task_labels: Sequence[str] | None = None,
) -> Report:
    """Look at every row, mapped as `to_records` would; changes nothing and raises nothing over what is in the rows.

    tokenizer, max_length: when both are given, also look for rows longer than `max_length` tokens of this model, see
    `token_lengths`. task_labels: the labels that answers must be; without them the data are taken for a label task
    when the answers are few and short, see `is_label_task`.
    """
    source = sources(mapping.columns)
    views = [_view(row, source, mapping.constants) for row in rows]
    labels = list(task_labels or [])
    problems = [] if rows else [Problem(0, "", "缺少内容", ERROR, "一行数据也没有", "请换一个文件")]
    problems += _structure(rows, mapping, source)
    problems += _characters(rows, source)
    is_task = bool(labels) or is_label_task([view.output for view in views if view])
    problems += _repeats(views, source, is_task)
    if is_task:
        problems += _labels(rows, source, labels)
    if tokenizer is not None and max_length:
        problems += _too_long(views, source, tokenizer, max_length)
    return Report(sorted(problems, key=lambda p: (p.row, (ERROR, WARNING, HINT).index(p.severity))), len(rows))


def _view(row: dict, source: dict[str, str], constants: dict[str, str]) -> Record | None:
    """The record of a row as far as it can be made; None for a broken conversation."""
    if "conversations" in row:
        return None if sharegpt_mistakes(row) else from_sharegpt(row, constants=constants)
    values = {name: constants.get(name, row.get(source.get(name))) for name in FIELDS}
    texts = {name: values[name].strip() if isinstance(values[name], str) else "" for name in FIELDS[:4]}
    try:
        return Record(**texts, history=read_history(values["history"], 0))
    except DataError:
        return Record(**texts)


def _structure(rows: Sequence[dict], mapping: Mapping, source: dict[str, str]) -> Iterator[Problem]:
    columns = {column for row in rows for column in row}
    for column in mapping.columns:
        if rows and column not in columns:
            yield Problem(0, column, "缺少内容", ERROR, f"没有「{column}」这一列", "请检查映射，或者补上这一列")
    answer = source.get("output", "output")
    answered = answer in columns or "output" in mapping.constants or "conversations" in columns
    if rows and not answered and answer not in mapping.columns:
        yield Problem(0, answer, "缺少内容", ERROR, "没有答案这一列", "请在映射里指明哪一列是 output")
    if "tools" in columns:
        fix = "训练时模型看不到工具说明；要让它看到，请把说明写进 system"
        yield Problem(0, "tools", "工具说明", HINT, "数据里有 tools", fix)
    filled = sum(bool(row.get(source.get("input"))) for row in rows)
    expected = filled * 2 > len(rows)  # elsewhere an empty input is nothing unusual
    for number, row in enumerate(rows, 1):
        if "conversations" in row:
            for where, what in sharegpt_mistakes(row):
                what, _, fix = what.removesuffix("。").rpartition("。")
                yield Problem(number, where or "conversations", "对话顺序", ERROR, what, fix)
        else:
            yield from _fields(row, number, source, mapping.constants, answered, expected)


def _fields(row: dict, number: int, source: dict, constants: dict, answered: bool, expected: bool) -> Iterator[Problem]:
    empty = {}
    for name in FIELDS[:4]:
        column = source.get(name, name)
        value = constants.get(name, row.get(column))
        empty[name] = value is None or (isinstance(value, str) and not value.strip())
        if value is not None and not isinstance(value, str):
            whole = type(value) is int  # the one type whose text is beyond doubt
            what = f"不是文本，而是 {type(value).__name__}：{str(value)[:20]}"
            yield Problem(number, column, "类型不对", ERROR, what, "请改成文本", whole)
    if empty["instruction"] and empty["input"]:
        where = "、".join(source.get(name, name) for name in ("instruction", "input") if source.get(name, name) in row)
        yield Problem(
            number, where or "input", "缺少内容", ERROR, "没有问题：指令和输入都是空的", "请补上，或者删除这一行"
        )
    elif empty["input"] and expected and "input" not in constants:
        what = "输入是空的，而大多数行都有"
        yield Problem(number, source.get("input", "input"), "缺少内容", WARNING, what, "请补上，或者删除这一行")
    if answered and empty["output"]:
        yield Problem(number, source.get("output", "output"), "缺少内容", ERROR, "答案是空的", "请补上，或者删除这一行")
    try:
        read_history(constants.get("history", row.get(source.get("history"))), number)
    except DataError:
        column = source.get("history", "history")
        yield Problem(number, column, "类型不对", ERROR, "历史对话的格式不对", "请改成 [[问, 答], [问, 答]]")


def _characters(rows: Sequence[dict], source: dict[str, str]) -> Iterator[Problem]:
    for number, row in enumerate(rows, 1):
        for path, text in cells(row, source):
            if is_mojibake(text):
                what = f"像是乱码：{text[:20]}"
                yield Problem(
                    number,
                    place(path),
                    "乱码",
                    WARNING,
                    what,
                    "请用正确的编码重新导出这个文件",
                    fix_mojibake(text) is not None,
                )
            elif found := CONTROL.findall(text):
                names = "、".join(dict.fromkeys(f"U+{ord(c):04X}" for c in found))
                yield Problem(number, place(path), "控制字符", WARNING, f"有看不见的字符 {names}", "请删掉它们", True)
            for kind in personal_data(text):
                yield Problem(number, place(path), "个人信息", WARNING, f"像是{kind}", f"请换成【{kind}】", True)


def _repeats(views: Sequence[Record | None], source: dict[str, str], is_task: bool) -> Iterator[Problem]:
    first: dict[str, int] = {}  # question and answer -> row
    answers: dict[str, tuple[int, str]] = {}  # question -> row, answer
    column = source.get("output", "output")
    for number, view in enumerate(views, 1):
        if view is None or not view.prompt:
            continue
        asked, answer = question_key(view), label_key(view.output) if is_task else squeeze(view.output)
        same, (row, other) = (
            first.setdefault(asked + "\0" + answer, number),
            answers.setdefault(asked, (number, answer)),
        )
        if same != number:
            yield Problem(number, column, "重复", WARNING, f"与第 {same} 行相同", "请只留一行", True)
        elif other != answer and other and answer:
            severity = WARNING if is_task else HINT  # an open question may well have two answers
            yield Problem(number, column, "答案不一致", severity, f"与第 {row} 行问的相同，答案不同", "请核对后统一")
        if not is_task and _echoes(view):
            yield Problem(number, column, "答案重复问题", WARNING, "答案照抄了问题", "请改成真正的答案，或者删除这一行")


def _echoes(view: Record) -> bool:
    answer, prompt = squeeze(view.output), squeeze(view.prompt)
    copied = len(answer) > 1 and answer in (prompt, squeeze(view.input), squeeze(view.instruction))
    return copied or (len(prompt) >= ECHO and answer.startswith(prompt))


def is_label_task(answers: Sequence[str]) -> bool:
    """Whether the answers look like labels: at least 10 rows, no answer above 20 characters, and the different ones
    (spelling variants apart) at most 50 and at most a third of the rows.
    """
    answers = [answer.strip() for answer in answers if answer.strip()]
    if len(answers) < 10 or max(map(len, answers)) > 20:
        return False
    kinds = {label_key(answer) for answer in set(answers)}
    return len(kinds) <= min(50, len(answers) / 3)


def label_spellings(labels: Sequence[str], task_labels: Sequence[str] = ()) -> dict[str, str]:
    """For each spelling of a label the one to use: that of `task_labels`, else the most frequent."""
    right = {label_key(label): label for label in task_labels}
    counts = Counter(label.strip() for label in labels if label.strip())
    for label, _ in counts.most_common():
        right.setdefault(label_key(label), label)
    return {label: right[label_key(label)] for label in counts}


def _labels(rows: Sequence[dict], source: dict[str, str], task_labels: list[str]) -> Iterator[Problem]:
    found = {i: dict(cells(row, source)).get(answer_path(row, source), "") for i, row in enumerate(rows, 1)}
    right = label_spellings(list(found.values()), task_labels)
    counts = Counter(right[label.strip()] for label in found.values() if label.strip())
    for number, label in found.items():
        field, spelling = place(answer_path(rows[number - 1], source)), right.get(label.strip())
        if label.strip() and label != label.strip():
            yield Problem(number, field, "首尾空白", HINT, f"标签「{label.strip()}」前后有空白", "请删掉空白", True)
        if task_labels and spelling and spelling not in task_labels:
            what = f"「{label.strip()}」不在标签里：{'、'.join(task_labels)}"
            yield Problem(number, field, "未知标签", ERROR, what, "请改成其中之一，或者加上这个标签")
        elif spelling and spelling != label.strip():
            what = f"标签「{label.strip()}」与「{spelling}」只差写法"
            yield Problem(number, field, "标签写法", WARNING, what, f"请统一成「{spelling}」", True)
    column = source.get("output", "output")
    for label in task_labels:
        if label not in counts:
            yield Problem(0, column, "标签不平衡", WARNING, f"标签「{label}」一行也没有", "请补充这类数据")
    (most, n), (least, m) = (counts.most_common() or [("", 1)])[0], (counts.most_common() or [("", 1)])[-1]
    if n >= UNBALANCED * m:
        what = f"「{most}」有 {n} 行，「{least}」只有 {m} 行，相差 {n / m:.1f} 倍"
        yield Problem(0, column, "标签不平衡", WARNING, what, "请给少的一类补充数据，或者减少多的一类")


def _too_long(views, source: dict[str, str], tokenizer, max_length: int) -> Iterator[Problem]:
    numbered = [(number, view) for number, view in enumerate(views, 1) if view]
    for (number, _), (whole, least) in zip(numbered, token_lengths([v for _, v in numbered], tokenizer), strict=True):
        column = source.get("input", "input")
        if least > max_length:
            what = f"太长：指令加答案约 {least} 个 token，最大长度是 {max_length}"
            yield Problem(number, column, "太长", ERROR, what, "请缩短指令或答案，或者调大最大长度")
        elif whole > max_length:
            what = f"约 {whole} 个 token，超过最大长度 {max_length}，训练时会截掉约 {whole - max_length} 个"
            yield Problem(number, column, "会被截断", WARNING, what, "请缩短输入或历史，或者调大最大长度")
