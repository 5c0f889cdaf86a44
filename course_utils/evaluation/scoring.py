"""A batch becomes scores: of each model with intervals, of each against the first, and what judges and people said."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd

from course_utils.data.records import atomic_writer, sources
from course_utils.data.split import are_labels
from course_utils.errors import CourseError, DataError
from course_utils.evaluation import human, similarity
from course_utils.evaluation.agreement import Agreement, admit, offline_judge
from course_utils.evaluation.batch import answers, read_work
from course_utils.evaluation.classification import Classification, paired_difference, score_labels
from course_utils.evaluation.judging import Asked, Judge, Progress, Verdicts, compare_answers, mark_answers
from course_utils.evaluation.labels import Calibration, calibration, text_of, worst_errors
from course_utils.evaluation.law import Citations, check_citations
from course_utils.evaluation.resample import Interval, mean_interval

MAIN_TEXT = "ROUGE-L（字）"  # decides, where no judge does, which examples are called won or lost
ACCURACY, MACRO_F1, ECE, MARKS = "准确率", "宏 F1", "校准误差 ECE（越低越好）", "裁判打分（1 到 5 分）"
Log = Callable[[str], None]


@dataclass(frozen=True)
class Score:
    """One number of one model. interval: 95 %, None where there is none."""

    model: str
    metric: str
    value: float
    interval: Interval | None = None


@dataclass(frozen=True)
class Against:
    """A model against the first one on the same rows: model minus first."""

    model: str
    metric: str
    difference: float
    interval: Interval
    wins: int
    losses: int
    p_value: float


@dataclass(frozen=True)
class Judged:
    """What one judge said of a model (A) against the first one (B), and how far the judge can be trusted."""

    model: str
    agreement: Agreement
    verdicts: Verdicts


@dataclass
class Results:
    """All that is known of a batch. labels: the task's labels; empty for free text. rows: model -> its answered rows."""

    folder: Path
    work: dict
    reference: str
    references: list[str]
    rows: dict[str, list[dict]]
    labels: list[str]
    scores: list[Score] = field(default_factory=list)
    against: list[Against] = field(default_factory=list)
    similar: dict[str, similarity.Similarity] = field(default_factory=dict)
    classified: dict[str, Classification] = field(default_factory=dict)
    calibrated: dict[str, Calibration] = field(default_factory=dict)
    errors: dict[str, pd.DataFrame] = field(default_factory=dict)
    citations: dict[str, Citations] = field(default_factory=dict)
    empty: dict[str, int] = field(default_factory=dict)
    judged: list[Judged] = field(default_factory=list)
    people: list[human.Tally] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # what was not measured, a Chinese sentence each

    @property
    def first(self) -> str:
        return next(iter(self.rows))

    def table(self) -> pd.DataFrame:
        """模型, 指标, 分数, 下限, 上限: a row per score."""
        lines = [(s.model, s.metric, s.value, *(s.interval or (None, None))) for s in self.scores]
        return pd.DataFrame(lines, columns=["模型", "指标", "分数", "下限", "上限"])

    def won(self, model: str) -> list[int]:
        """For each row 1 where the model beats the first one, -1 where it loses, 0 otherwise."""
        for judged in self.judged:
            if judged.model == model:
                return [{"A": 1, "B": -1}.get(winner, 0) for winner in judged.verdicts.winners]
        mine, other = (self._row_points(name) for name in (model, self.first))
        return [(a > b) - (a < b) for a, b in zip(mine, other, strict=True)]

    def _row_points(self, model: str) -> list[float]:
        if self.similar:
            return self.similar[model].rows[MAIN_TEXT].tolist()
        pairs = zip(_predictions(self.rows[model]), self.references, strict=True)
        return [float((answer or "").strip() == reference) for answer, reference in pairs]


def score_batch(
    folder: str | Path, reference: str | None = None, judge: Judge | None = None, log: Log = print
) -> Results:
    """Score a finished batch against the field `reference` (by default the one that holds the output).

    Labels: accuracy and macro-F1; free text: `similarity`, the citations if there are any, and a judge: the one given,
    else the offline one; what other judges and people said before is read from the folder.
    Raises `DataError` when a model is not finished, or a row has no reference.
    """
    folder = Path(folder)
    work = read_work(folder)
    rows = answers(folder)
    for name, found in rows.items():
        if len(found) < work["rows"]:
            raise DataError(f"{name} 只完成了 {len(found)}/{work['rows']} 行。请先用同一条 course batch 命令做完。")
    reference = reference or sources(work["mapping"])["output"]
    references = _references(next(iter(rows.values())), reference)
    labels = _task_labels(work, references)
    results = Results(folder, work, reference, references, rows, labels)
    for name in rows:
        (_score_labels if labels else _score_text)(results, name)
    if not labels:
        _judge(results, judge, log)
    _remember_judges(results)
    results.people = [human.tally(path.parent) for path in sorted(folder.glob("human*/ratings.jsonl"))]
    _note_missing(results)
    return results


def judge_batch(
    folder: str | Path,
    judge: Judge,
    reference: str | None = None,
    log: Log = print,
    progress: Progress = lambda done, total: None,
) -> list[Judged]:
    """Let a judge compare every model with the first one, and keep it in the folder for the report; goes on when it
    was stopped. log: a line now and then. progress: is called after every question, of each model anew; what it raises
    stops the judge. Raises `JudgeRefused` for a judge that is not calibrated or not good enough.
    """
    folder, agreement = Path(folder), admit(judge)
    work, rows = read_work(folder), answers(folder)
    reference = reference or sources(work["mapping"])["output"]
    first, *others = rows
    references = _references(rows[first], reference)
    asked = asked_of(rows[first], references)
    judged = []
    for name in others:

        def tell(done: int, total: int, name: str = name) -> None:
            if done % 50 == 0:
                log(f"{name}：裁判 {done}/{total}")
            progress(done, total)

        kept = folder / "judge" / f"{judge.key}.jsonl"
        said = compare_answers(judge, asked, _predictions(rows[name]), _predictions(rows[first]), kept, tell)
        judged.append(Judged(name, agreement, said))
    kept = [{"model": j.model, "agreement": asdict(j.agreement), "verdicts": asdict(j.verdicts)} for j in judged]
    with atomic_writer(folder / "judge" / f"{judge.key}.json") as file:
        json.dump(kept, file, ensure_ascii=False)
    return judged


def asked_of(rows: Sequence[dict], references: Sequence[str]) -> list[Asked]:
    """The rows as a judge sees them."""
    return [Asked(question_of(row), reference) for row, reference in zip(rows, references, strict=True)]


def label_references(rows: Sequence[dict], reference: str) -> bool:
    """Whether a file of predictions is a label task's: it carries `scores`, or its references are few and short.

    More generous than `are_labels`, which decides how to train: here a file may well have ten rows.
    Raises `DataError` when a row lacks a field.
    """
    for number, row in enumerate(rows, 1):
        if "prediction" not in row:
            raise DataError(f"第 {number} 行没有「prediction」字段。这一行有的字段是：{'、'.join(row)}。")
    references = _references(rows, reference)
    few = len(set(references)) <= max(2, len(rows) // 2)
    return all(row.get("scores") for row in rows) or (few and max(map(len, references)) <= 20)


def question_of(row: dict) -> str:
    """What was asked: instruction and input, or the one text column."""
    parts = [row[name] for name in ("instruction", "input") if isinstance(row.get(name), str) and row[name].strip()]
    return "\n".join(parts) or text_of(row)


# --- the parts of score_batch ---


def _score_labels(results: Results, name: str) -> None:
    rows, truth = results.rows[name], results.references
    found = score_labels(_predictions(rows), truth, results.labels)
    results.classified[name], results.empty[name] = found, found.n_empty
    results.scores += [Score(name, ACCURACY, found.accuracy, found.interval), Score(name, MACRO_F1, found.macro_f1)]
    if all(row.get("prediction") in (row.get("scores") or {}) for row in rows):
        results.calibrated[name] = calibration(rows, truth)
        results.errors[name] = worst_errors(rows, truth)
        results.scores.append(Score(name, ECE, results.calibrated[name].ece))
    if name != results.first:
        pair = paired_difference(_predictions(rows), _predictions(results.rows[results.first]), truth)
        line = pair.difference, pair.interval, pair.only_a, pair.only_b, pair.p_value
        results.against.append(Against(name, ACCURACY, *line))


def _score_text(results: Results, name: str) -> None:
    mine = similarity.similarity(_predictions(results.rows[name]), results.references)
    results.similar[name], results.empty[name] = mine, mine.n_empty
    results.scores += [Score(name, *line[:2], (line[2], line[3])) for line in mine.table.itertuples(index=False)]
    if similarity.semantic_model():
        meaning = similarity.semantic(_predictions(results.rows[name]), results.references)
        results.scores.append(Score(name, str(meaning.name), float(meaning.mean()), mean_interval(meaning)))
    found = check_citations(_predictions(results.rows[name]))
    if found.n_citations or check_citations(results.references).n_citations:
        results.citations[name] = found
    if name != results.first:
        for metric, pair in similarity.compare(mine, results.similar[results.first]).items():
            results.against.append(Against(name, metric, *asdict(pair).values()))


def _judge(results: Results, judge: Judge | None, log: Log) -> None:
    """The judge given or the offline one.

    Marks are asked of a free judge only: a paid one is asked for them by `mark_answers`, after its cost was seen.
    """
    try:
        judge = judge or offline_judge()[0]
        if judge.free:
            _mark(results, judge)
        if len(results.rows) < 2:
            results.missing.append("只有一个模型，没有让裁判比较；再加一个模型（例如基座）才能比。")
            return
        results.judged = judge_batch(results.folder, judge, results.reference, log)
    except CourseError as error:
        results.missing.append(f"没有裁判的结果：{error}")


def _remember_judges(results: Results) -> None:
    """What judges have said of this batch before; of a judge that has just spoken only that."""
    shown = {judged.agreement.judge for judged in results.judged}
    for path in sorted((results.folder / "judge").glob("*.json")):
        results.judged += [judged for judged in _read_judged(path) if judged.agreement.judge not in shown]


def _mark(results: Results, judge: Judge) -> None:
    admit(judge, "marks")
    for name, rows in results.rows.items():
        marks = mark_answers(judge, asked_of(rows, results.references), _predictions(rows))
        results.scores.append(Score(name, f"{MARKS}：{judge.name}", marks.mean, marks.interval))


def _read_judged(path: Path) -> list[Judged]:
    found = []
    for line in json.loads(path.read_text(encoding="utf-8")):
        agreement = Agreement(**line["agreement"] | {"interval": tuple(line["agreement"]["interval"])})
        found.append(Judged(line["model"], agreement, Verdicts(**line["verdicts"])))
    return found


def _note_missing(results: Results) -> None:
    if not results.people:
        results.missing.append("没有人工评分。")
    if not results.labels and not any(not j.agreement.judge.startswith("离线裁判") for j in results.judged):
        results.missing.append("没有大模型裁判（没有设置 COURSE_LLM_BASE_URL 等环境变量，或者还没有请它评）。")
    if not results.labels and not similarity.semantic_model():
        results.missing.append("没有语义相似度：没有安装向量模型（环境变量 COURSE_EMBEDDING_MODEL）。")
    for name, rows in results.rows.items():
        if results.labels and name not in results.calibrated:
            results.missing.append(f"{name} 没有给出各标签的概率，算不出校准误差。")
        failed = sum("error" in row for row in rows)
        if failed:
            results.missing.append(f"{name} 有 {failed} 行被服务拒绝，按空回答计。")
    results.missing.append("区间只反映这份测试数据的多少；没有重复训练，不知道换一个随机种子差多少。")
    results.missing.append("没有检查测试数据是否在基座模型的预训练里出现过。")


def _references(rows: Sequence[dict], field: str) -> list[str]:
    for number, row in enumerate(rows, 1):
        if field not in row:
            raise DataError(
                f"第 {number} 行没有「{field}」字段。这一行有的字段是：{'、'.join(row)}。请用 --reference 指明标准答案在哪。"
            )
        if not isinstance(row[field], str) or not row[field].strip():
            raise DataError(f"第 {number} 行的标准答案「{field}」是空的，或者不是文本。请补上，或者删去这一行。")
    return [row[field].strip() for row in rows]


def _task_labels(work: dict, references: list[str]) -> list[str]:
    """The labels of the task, those of the references among them; empty for free text."""
    chosen = work["task"]["labels"]
    return sorted({*chosen, *references}) if chosen or are_labels(Counter(references)) else []


def _predictions(rows: Sequence[dict]) -> list[str | None]:
    return [row.get("prediction") for row in rows]
