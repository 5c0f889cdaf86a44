"""From a record to token ids, and to the mask of what the loss sees.

Training, evaluation, batch prediction and the service all come through here: what is served is what was trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from course_utils.data.records import Record
from course_utils.errors import DataError

IGNORED = -100  # the label of a position that the loss does not see, as in torch.nn.CrossEntropyLoss


@dataclass
class Encoded:
    """input_ids: the conversation. supervised: for each id, whether the model is taught to produce it.
    prompt_length: how many ids come before the last answer. cut_tokens: how many of the record's were left out.
    label: the number of its label, where a classification head is trained and not the answer's tokens.
    """

    input_ids: list[int]
    supervised: list[bool]
    prompt_length: int
    cut_tokens: int = 0
    label: int | None = None
    states: Any = None  # (length, hidden), see `course_utils.training.turbo`

    @property
    def labels(self) -> list[int]:
        """`input_ids` where supervised, else -100."""
        return [token if seen else IGNORED for token, seen in zip(self.input_ids, self.supervised, strict=True)]


def encode(record: Record, tokenizer, max_length: int | None = None, learn_history: bool = True) -> Encoded:
    """Token ids of a training example through the tokenizer's chat template, ending with the turn terminator.

    Supervised are the answer and its terminator, for answers in the history too unless `learn_history` is False.
    An example that is longer than `max_length` loses its oldest turns first, then the end of its `input`; the answer
    and the instruction are never cut. Raises `DataError` when these alone are too long.
    """
    whole = _encode(record, tokenizer, learn_history)
    return _fit(whole, record, max_length, lambda shorter: _encode(shorter, tokenizer, learn_history), tokenizer)


def encode_labelled(record: Record, tokenizer, labels: Sequence[str], max_length: int | None = None) -> Encoded:
    """A prompt and the number of its label, for a model with a classification head.

    Raises `DataError` when the record's output is none of `labels`.
    """
    answer = record.output.strip()
    if answer not in labels:
        raise DataError(f"标签「{answer[:20]}」不在训练集的标签里：{'、'.join(labels[:20])}。请改正，或者删掉这一行。")
    ids = encode_prompt(record, tokenizer, max_length)
    cut = len(encode_prompt(record, tokenizer)) - len(ids) if max_length else 0
    return Encoded(ids, [False] * len(ids), len(ids), cut, list(labels).index(answer))


def encode_prompt(record: Record, tokenizer, max_length: int | None = None) -> list[int]:
    """Token ids up to where the model begins to answer: the ids that `encode` puts before the last answer.

    `max_length` bounds the prompt alone; it is shortened as in `encode`.
    """

    def prompt_only(shorter: Record) -> Encoded:
        encoded = _encode(shorter, tokenizer, learn_history=False)
        return replace(encoded, input_ids=encoded.input_ids[: encoded.prompt_length])

    question = replace(record, output="")
    return _fit(prompt_only(question), question, max_length, prompt_only, tokenizer).input_ids


def encode_answer(answer: str, tokenizer) -> list[int]:
    """Token ids of an answer, without its terminator."""
    return tokenizer.encode(answer, add_special_tokens=False)


def turn_end(tokenizer) -> int:
    """The id that ends an answer in this tokenizer's chat template, such as `<end_of_turn>` or `<|im_end|>`."""
    return _encode(Record("问", output="答"), tokenizer, learn_history=True).input_ids[-1]


def _encode(record: Record, tokenizer, learn_history: bool) -> Encoded:
    """Each stretch between the template and an answer is cut into tokens by itself, so that the ids of a prompt do
    not depend on the answer that follows it: in use, the model sees a prompt without an answer.
    """
    messages = record.messages()
    answers = [message["content"] for message in messages if message["role"] == "assistant"]
    ids, supervised, prompt_length = [], [], 0
    stretches = _stretches(messages, tokenizer)
    for i, answer in enumerate(answers):
        before = tokenizer.encode(stretches[i], add_special_tokens=False)
        ids += before
        # the stretch after an answer begins with that answer's terminator
        supervised += [learn_history and i > 0] + [False] * (len(before) - 1)
        prompt_length = len(ids)
        tokens = encode_answer(answer, tokenizer)
        ids += tokens
        supervised += [learn_history or i == len(answers) - 1] * len(tokens)
    terminator = tokenizer.encode(stretches[-1], add_special_tokens=False)[:1]
    return Encoded(ids + terminator, supervised + [True] * len(terminator), prompt_length)


def _stretches(messages: list[dict[str, str]], tokenizer) -> list[str]:
    """The template's text around the answers: n answers stand between n + 1 stretches.

    The template is rendered with a mark in place of each answer, so this holds for every template, also for one that
    says something between the role and the answer, as Qwen3's empty `<think>` block does.
    """
    mark = "\ue000"
    marked = [message | {"content": mark} if message["role"] == "assistant" else message for message in messages]
    render = partial(tokenizer.apply_chat_template, tokenize=False, enable_thinking=False)
    # Up to the last answer the template's own generation prompt decides: it is what the model sees in use.
    stretches = render(marked[:-1], add_generation_prompt=True).split(mark) + render(marked).split(mark)[-1:]
    if len(stretches) != sum(message["role"] == "assistant" for message in messages) + 1 or not stretches[-1].strip():
        raise DataError(
            "这段对话套不进模型的对话模板：请去掉正文里的私用区字符 U+E000，并检查模板是否在答案后面有结束标记。"
        )
    return stretches


def _fit(encoded: Encoded, record: Record, max_length: int | None, encode_again, tokenizer) -> Encoded:
    length = len(encoded.input_ids)
    while max_length and len(encoded.input_ids) > max_length:
        excess = len(encoded.input_ids) - max_length
        if record.history:
            record = replace(record, history=record.history[1:])
        else:
            record = replace(record, input=_drop_tail(record, excess, max_length, length, tokenizer))
        encoded = encode_again(record)
    return replace(encoded, cut_tokens=length - len(encoded.input_ids))


def _drop_tail(record: Record, excess: int, max_length: int, length: int, tokenizer) -> str:
    """`record.input` without its last `excess` tokens, cut between two characters."""
    starts = [
        start
        for start, _ in tokenizer(record.input, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    ]
    if not record.input:
        raise DataError(
            f"这条数据放不进最大长度：共 {length} 个 token，而最大长度是 {max_length}，"
            "去掉历史和输入之后，指令加答案仍然太长。请调大最大长度，或者缩短答案。"
        )
    return record.input[: starts[max(0, len(starts) - excess)]]
