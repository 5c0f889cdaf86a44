"""What the loss sees is the answer and its terminator, and nothing of the prompt."""

import pytest

from course_utils.data.records import Record
from course_utils.errors import DataError
from course_utils.models.convert import GEMMA_TEMPLATE
from course_utils.models.encode import encode, encode_prompt, turn_end

CHATML = (
    "{% for m in messages %}{{ '<start_of_turn>' + m.role + '\n' + m.content + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>assistant\n' }}{% endif %}"
)
# Says something between the role and the last answer, and not before the earlier ones, as Qwen3's template does.
THINKING = (
    "{% for m in messages %}{{ '<start_of_turn>' + m.role + '\n' }}"
    "{% if loop.last and m.role == 'assistant' %}{{ '<mask>\n\n' }}{% endif %}{{ m.content + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>assistant\n<mask>\n\n' }}{% endif %}"
)
TEMPLATES = {"gemma": GEMMA_TEMPLATE.read_text(encoding="utf-8"), "chatml": CHATML, "thinking": THINKING}
RECORDS = {
    "plain": Record("判断情感", "书很好", "积极"),
    "system": Record("判断情感", "书很差", "消极", system="你是谢"),
    "history": Record("请判断", "酒店很好", "积极", "你是谢", [("在吗", "我在"), ("书", "差")]),
    "answer named like a role": Record("问", "", "model"),
    "answer repeated in the prompt": Record("请回答积极", "积极", "积极"),
    "spaces and lines": Record("问  ", "a  b\n\n好", "积极\n积极"),
}


@pytest.fixture(params=TEMPLATES)
def tokenizer(tiny, request):
    tiny[1].chat_template = TEMPLATES[request.param]
    return tiny[1]


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_supervised_are_the_answers_and_their_terminators(tokenizer, record):
    encoded = encode(record, tokenizer)
    taught = [i for i, seen in zip(encoded.input_ids, encoded.supervised, strict=True) if seen]
    answers = [answer for _, answer in record.history] + [record.output]
    assert tokenizer.decode(taught) == "".join(answer + "<end_of_turn>" for answer in answers)
    assert encoded.input_ids[-1] == turn_end(tokenizer) and encoded.supervised[-1]
    assert not any(encoded.supervised[: encoded.input_ids.index(5) + 1])  # nothing up to the first turn


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_whole_conversation_is_the_templates(tokenizer, record):
    text = tokenizer.apply_chat_template(record.messages(), tokenize=False)
    assert tokenizer.decode(encode(record, tokenizer).input_ids) == text.rstrip("\n")


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_prompt_ids_at_training_and_at_inference_are_equal(tokenizer, record):
    encoded = encode(record, tokenizer)
    prompt = encode_prompt(record, tokenizer)
    assert prompt == encoded.input_ids[: encoded.prompt_length]
    text = tokenizer.apply_chat_template(record.messages()[:-1], tokenize=False, add_generation_prompt=True)
    assert tokenizer.decode(prompt) == text


def test_history_can_be_left_unlearnt(tiny):
    encoded = encode(RECORDS["history"], tiny[1], learn_history=False)
    taught = [i for i, seen in zip(encoded.input_ids, encoded.supervised, strict=True) if seen]
    assert tiny[1].decode(taught) == "积极<end_of_turn>"
    assert encoded.labels.count(-100) == len(encoded.input_ids) - len(taught)


def test_truncation_takes_history_then_input_and_never_the_answer(tiny):
    record = RECORDS["history"]
    whole = encode(record, tiny[1])
    for limit in range(len(whole.input_ids) - 1, 0, -1):
        try:
            cut = encode(record, tiny[1], max_length=limit)
        except DataError as error:
            assert "最大长度" in str(error)
            break
        text = tiny[1].decode(cut.input_ids)
        assert len(cut.input_ids) <= limit
        assert cut.cut_tokens == len(whole.input_ids) - len(cut.input_ids) > 0
        assert text.endswith("积极<end_of_turn>") and "请判断" in text
        assert "在吗" not in text
    assert limit > 10  # instruction and answer do not fit into nothing


def test_long_prompt_is_cut_at_inference_as_in_training(tiny):
    record = Record("判断", "好" * 300, "积极")
    encoded = encode(record, tiny[1], max_length=100)
    answer = len(encoded.input_ids) - encoded.prompt_length
    assert encode_prompt(record, tiny[1], max_length=100 - answer) == encoded.input_ids[: encoded.prompt_length]


def test_the_mark_in_the_text_is_refused(tiny):
    with pytest.raises(DataError, match="U\\+E000"):
        encode(Record("问\ue000", "", "答"), tiny[1])
