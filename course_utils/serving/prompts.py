"""From chat messages to the record that training would have made of them, and the proof that it is the same one."""

import threading
from collections.abc import Callable, Sequence

from course_utils.data.records import Record
from course_utils.errors import CourseError
from course_utils.models.encode import encode, encode_labelled, encode_prompt
from course_utils.models.load import load_tokenizer
from course_utils.models.weights import prepare
from course_utils.serving.limits import Refused
from course_utils.serving.store import Served
from course_utils.training.run import Run

PROVED = 64  # training rows that are encoded both ways when a run is published
SYSTEM = ("system", "developer")  # OpenAI's newer name for the same


def to_record(messages: Sequence[dict[str, str]], instruction: str = "", system: str = "") -> Record:
    """The record of a conversation whose last message asks.

    instruction, system: what all training rows shared. A question that does not begin with the instruction gets it in
    front, on a line of its own, as in the training rows; a system message of the request's own comes first.
    Raises `Refused` (400).
    """
    turns = list(messages)
    if turns and turns[0]["role"] in SYSTEM:
        system = turns.pop(0)["content"].strip()
    roles = [turn["role"] for turn in turns]
    if not turns or roles != [("user", "assistant")[i % 2] for i in range(len(turns))] or roles[-1] != "user":
        raise Refused(
            400,
            "invalid_messages",
            "messages 的顺序不对：最前面可以有一条 system，然后 user 和 assistant 一问一答，最后一条是 user。",
        )
    texts = [turn["content"] for turn in turns]
    question = texts.pop().strip()
    if not question:
        raise Refused(400, "invalid_messages", "最后一条 user 消息是空的。请写上问题。")
    history = list(zip(texts[::2], texts[1::2], strict=True))
    if instruction and question != instruction and not question.startswith(f"{instruction}\n"):
        return Record(instruction, question, system=system, history=history)
    return Record(question, system=system, history=history)


def encode_request(record: Record, tokenizer) -> list[int]:
    """Token ids of a request's prompt, never shortened. Raises `Refused` (400)."""
    try:
        return encode_prompt(record, tokenizer)
    except CourseError as error:
        raise Refused(400, "invalid_messages", str(error)) from None


class Readers:
    """What is needed of a base model to read a request, there before the model is. Thread-safe."""

    def __init__(self, log: Callable[[str], None] = print):
        self.log, self.lock, self.opened = log, threading.Lock(), {}

    def read(self, record: Record, served: Served) -> tuple[list[int], int]:
        """`(ids, room)`: a record's prompt, and how many tokens the model can see after it. Raises `CourseError`."""
        with self.lock:  # tokenizers are not made for several threads
            tokenizer, context = self._open(served.base)
            ids = encode_request(record, tokenizer)
        return ids, context - len(ids)

    def tokenizer(self, served: Served):
        with self.lock:
            return self._open(served.base)[0]

    def _open(self, base: str):
        if base not in self.opened:
            from transformers import AutoConfig

            config = AutoConfig.from_pretrained(prepare(base, self.log), local_files_only=True)
            self.opened[base] = load_tokenizer(base, self.log), config.get_text_config().max_position_embeddings
        return self.opened[base]


def requests_like(record: Record, instruction: str, system: str) -> list[list[dict[str, str]]]:
    """The ways in which a client may ask a training row: in full, and without what the service adds by itself."""
    full = record.messages()[:-1]
    bare = [message for message in full if message["role"] not in SYSTEM] if system else full
    if instruction and record.input:
        bare = [*bare[:-1], {"role": "user", "content": record.input}]
    return [full, bare] if bare != full else [full]


def prove(run: Run, tokenizer, trained_tokenizer) -> str:
    """Encode training rows as training did and as the service will; say in words that they agree.

    tokenizer: the service's. Rows that training had to shorten are left out: a request is never shortened.
    Raises `CourseError` when one id differs or no row is left.
    """
    config, facts = run.config, run.facts
    instruction, system = facts["instruction"], facts["system"]
    records = run.records("train")
    checked = ways = 0
    for number in range(0, len(records), max(1, len(records) // PROVED)):
        record = records[number]
        if config.task == "classification":
            row = encode_labelled(record, trained_tokenizer, facts["labels"], config.max_length)
        else:
            row = encode(record, trained_tokenizer, config.max_length, config.learn_history)
        if row.cut_tokens:
            continue
        for messages in requests_like(record, instruction, system):
            if (
                encode_request(to_record(messages, instruction, system), tokenizer)
                != row.input_ids[: row.prompt_length]
            ):
                raise CourseError(
                    f"没有发布：训练集第 {number + 1} 行作为请求发来时，编码和训练时不一样，模型会答非所训。"
                    "请检查这一行的空白、空的 history，以及分词器是否换过；改正后重新训练。"
                )
            ways += 1
        checked += 1
    if not checked:
        raise CourseError(
            f"没有发布：抽查的训练行都超过最大长度 {config.max_length}，训练时被截短，无法证明请求和训练的编码一致。"
            "请调大最大长度，重新训练。"
        )
    return f"抽查 {checked} 行训练数据，按 {ways} 种请求写法编码，每个 token 都和训练时的提示相同。"
