"""The main job of the course in one function: real reviews in, a model of one's own out, measured beside others."""

import pandas as pd

from course_utils.data import presets
from course_utils.data.records import Record, atomic_writer, write_jsonl
from course_utils.evaluation import baselines
from course_utils.evaluation.classification import score_labels
from course_utils.measure import PeakMemory
from course_utils.paths import runs
from course_utils.training.config import TrainingConfig
from course_utils.training.run import Run

TRAIN_ROWS, TEST_ROWS = 2400, 1200  # of the splits, which are shuffled: a sample of each
TITLES = {"majority": "多数类", "tfidf": "TF-IDF + 逻辑回归", "base": "基座模型", "tuned": "微调后的模型"}


def demo(quick: bool = False) -> Run:
    """Fine-tune the embedded model on reviews and compare it with what is cheaper; about ten minutes on two cores.

    quick: a few hundred rows, to see that everything works; its scores mean little.
    """
    from course_utils.inference.generate import generate
    from course_utils.inference.predict import predict
    from course_utils.models.load import load

    data, labels = presets.parts("sentiment_predict"), presets.card("sentiment_predict").labels
    train_rows, test_rows = (280, 120) if quick else (TRAIN_ROWS, TEST_ROWS)
    data["train"], data["test"] = data["train"][:train_rows], data["test"][:test_rows]
    print("数据：" + "，".join(f"{part} {len(rows)} 条" for part, rows in data.items()), flush=True)
    samples = _samples(data["test"])
    references = [record.output for record in data["test"]]
    answers, costs = {}, {}
    with PeakMemory() as costs["majority"]:
        answers["majority"] = baselines.majority([r.output for r in data["train"]], len(references))
    with PeakMemory() as costs["tfidf"]:
        answers["tfidf"] = baselines.tfidf(
            [r.input for r in data["train"]], [r.output for r in data["train"]], [r.input for r in data["test"]]
        )

    # Few rows make few steps, and the first thirty go into learning to answer at all: smaller batches, more steps.
    config = TrainingConfig(batch_size=4, validation_rows=32, evaluations=1) if quick else TrainingConfig()
    with PeakMemory() as costs["base"]:
        model, tokenizer = load(config.base_model)
        before = generate(model, tokenizer, samples, max_new_tokens=16)
        _show("微调之前，基座模型这样回答：", samples, before)
        base = predict(model, tokenizer, data["test"], labels, config.max_length, title="基座模型")
    del model
    with PeakMemory() as costs["tuned"]:
        run = _train_or_resume(config, data, "demo-quick" if quick else "demo")
        model, tokenizer = run.load()
        tuned = predict(model, tokenizer, data["test"], labels, config.max_length, title="微调后的模型")
    _show("微调之后，同样的三条：", samples, generate(model, tokenizer, samples, max_new_tokens=16))
    answers |= {"base": [row["prediction"] for row in base], "tuned": [row["prediction"] for row in tuned]}
    _save(run, data["test"], answers, tuned, _table(answers, references, costs))
    return run


def _train_or_resume(config: TrainingConfig, data: dict[str, list[Record]], name: str) -> Run:
    """A demo that was stopped goes on where it was."""
    from course_utils.training.train import resume, train

    for folder in runs().glob(f"{name}*"):
        if not (folder / "run.json").exists():
            continue
        run = Run(folder)
        same = run.config == config and run.records("train") == data["train"]
        if same and run.checkpoint and not run.finished:
            print(f"继续上次没有训练完的 {folder.name}：从第 {run.checkpoint.name.split('-')[1]} 步起。", flush=True)
            return resume(run)
    return train(config, data, name)


def _samples(test: list[Record]) -> list[Record]:
    """Three short reviews of both labels."""
    short = [record for record in test if len(record.input) <= 40]
    return [next(r for r in short if r.output == "积极"), *[r for r in short if r.output == "消极"][:2]]


def _show(title: str, samples: list[Record], answers: list[str]) -> None:
    print(f"\n{title}")
    for sample, answer in zip(samples, answers, strict=True):
        print(f"  评论：{sample.input}")
        print(f"  回答：{' '.join(answer.split()) or '（空）'}　　标注：{sample.output}", flush=True)


def _table(answers: dict[str, list[str]], references: list[str], costs: dict[str, PeakMemory]) -> pd.DataFrame:
    rows = []
    for name, predictions in answers.items():
        result = score_labels(predictions, references)
        low, high = result.interval
        rows.append(
            {
                "model": name,
                "accuracy": result.accuracy,
                "macro_f1": result.macro_f1,
                "ci_low": low,
                "ci_high": high,
                "seconds": costs[name].seconds,
                "peak_mb": costs[name].mb,
            }
        )
    return pd.DataFrame(rows)


def _save(run: Run, test: list[Record], answers: dict, tuned: list[dict], table: pd.DataFrame) -> None:
    with atomic_writer(run.folder / "table.csv") as file:
        table.round(4).to_csv(file, index=False)
    write_jsonl(
        (
            {"input": record.input, "output": record.output, **{name: answers[name][i] for name in answers}, **tuned[i]}
            for i, record in enumerate(test)
        ),
        run.folder / "predictions.jsonl",
    )
    print(f"\n测试集 {len(test)} 条上的比较（秒数含训练和预测，内存为进程峰值）：")
    print(table.assign(model=table["model"].map(TITLES)).to_string(index=False, float_format="{:.3f}".format))
    print(
        f"\n都在这里：{run.folder}\n  table.csv 比较表　predictions.jsonl 每条的答案　curve.png 损失曲线　"
        f"{run.weights.name}/ 你的模型和它的说明",
        flush=True,
    )
