"""What is predicted in batches, with padding, caches and shared prefixes, is what the plain model says."""

import json

import pytest
import torch

from course_utils.data.records import Record
from course_utils.errors import ConfigError, DataError
from course_utils.evaluation.answering import predict_file
from course_utils.inference import predict as predicting
from course_utils.inference.choose import choose
from course_utils.inference.generate import generate
from course_utils.models.encode import encode_answer, encode_prompt, turn_end
from course_utils.training.config import TrainingConfig
from course_utils.training.train import train

WINDOW = 128  # of the tiny model
LABELS = ["积极", "消极", "好", "好好", "好好差", "猫", "差很快慢喜欢"]  # 猫 is three byte tokens
REVIEWS = [
    Record("判断情感", "书" + "很" * i + "好差慢快"[i % 4], system="你是谢" if i % 3 == 0 else "") for i in range(11)
]
LONG = [Record("判断情感", "好差" * n) for n in (70, 5, 90, 62, 1)]  # up to 1.5 windows, and short ones among them


def plain_likelihood(model, tokenizer, record, label):
    """One forward over prompt, label and terminator: no padding, no cache."""
    prompt = encode_prompt(record, tokenizer)
    answer = [*encode_answer(label, tokenizer), turn_end(tokenizer)]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + answer]), use_cache=False).logits[0]
    shares = logits.double().log_softmax(-1)
    return sum(shares[len(prompt) - 1 + i, token].item() for i, token in enumerate(answer))


def assert_plain(model, tokenizer, records, labels, choices):
    assert len(choices) == len(records)
    for record, choice in zip(records, choices, strict=True):
        expected = {label: plain_likelihood(model, tokenizer, record, label) for label in labels}
        assert choice.log_likelihood == pytest.approx(expected, abs=1e-4)
        assert choice.label == max(expected, key=expected.get)
        assert sum(choice.scores.values()) == pytest.approx(1) and list(choice.scores) == labels


@pytest.mark.parametrize(
    "records",
    [
        REVIEWS,
        REVIEWS[:1],
        [REVIEWS[4]] * 3,
        LONG,
        [Record("判断情感", "好" * n) for n in (80, 84, 88)],  # in the window, until a label is added
        [Record("猫" * n, "") for n in (1, 3)],  # nothing shared but the template
    ],
    ids=["many", "one", "the same", "longer than the window", "up to the window", "no instruction"],
)
def test_choose_equals_the_plain_model(tiny, records):
    assert_plain(*tiny, records, LABELS, choose(*tiny, records, LABELS))


def test_choose_among_many_labels(tiny):
    labels = [a + b * n for a in "你我他书酒" for b in "好差" for n in range(4)]
    labels = list(dict.fromkeys(labels + ["积" * n for n in range(1, 30)]))
    assert len(labels) > 40
    assert_plain(*tiny, REVIEWS[:5], labels, choose(*tiny, REVIEWS[:5], labels))


@pytest.mark.parametrize("records", [REVIEWS, LONG], ids=["short", "long"])
def test_choose_does_not_depend_on_the_batch(tiny, records):
    one, many = (choose(*tiny, records, LABELS, batch_size=n) for n in (1, 16))
    for a, b in zip(one, many, strict=True):
        assert a.log_likelihood == pytest.approx(b.log_likelihood, abs=1e-4)


def test_choose_cuts_long_prompts_as_in_training(tiny):
    cut = encode_prompt(LONG[2], tiny[1], max_length=50 - 7)  # room for the longest label, 6 tokens, and its end
    (choice,) = choose(*tiny, LONG[2:3], LABELS, max_length=50)
    whole = Record("判断情感", "好差" * 90)
    for n in range(len(whole.input)):
        if encode_prompt(Record("判断情感", whole.input[:n]), tiny[1]) == cut:
            assert_plain(*tiny, [Record("判断情感", whole.input[:n])], LABELS, [choice])
            return
    pytest.fail("the prompt was not cut at the end of its input")


def test_choose_reports_its_progress_and_takes_no_rows(tiny):
    done = []
    choose(*tiny, REVIEWS, LABELS, batch_size=5, progress=done.append)
    assert done == [5, 10, 11]
    assert choose(*tiny, [], LABELS) == []


@pytest.mark.parametrize("labels", [["积极"], ["积极", "积极 "], ["积极", " "], []])
def test_choose_refuses_labels_that_are_no_choice(tiny, labels):
    with pytest.raises(ConfigError, match="标签要至少两个，不能重复，也不能为空"):
        choose(*tiny, REVIEWS, labels)


def test_labels_longer_than_max_length(tiny):
    with pytest.raises(ConfigError, match="答案最多 31 个 token，而最大长度只有 20"):
        choose(*tiny, REVIEWS, ["好" * 30, "差"], max_length=20)


# --- free answers ---


@pytest.fixture
def talkative(tiny):
    """The tiny model says its last token again and again, since its head is its embedding; not so this one."""
    torch.manual_seed(3)
    tiny[0].lm_head.weight = torch.nn.Parameter(torch.randn(tiny[0].lm_head.weight.shape))
    return tiny


def plain_answer(model, tokenizer, record, tokens):
    """The most probable token, again and again: no padding, no cache."""
    ids, end, answer = encode_prompt(record, tokenizer), turn_end(tokenizer), []
    with torch.no_grad():
        for _ in range(tokens):
            token = model(input_ids=torch.tensor([ids + answer]), use_cache=False).logits[0, -1].argmax().item()
            if token == end:
                break
            answer.append(token)
    return tokenizer.decode(answer, skip_special_tokens=True).strip()


@pytest.mark.parametrize("records", [REVIEWS[:9], LONG], ids=["short", "long"])
def test_greedy_answers_equal_the_plain_models(talkative, records):
    expected = [plain_answer(*talkative, record, 6) for record in records]
    assert len(set(expected)) > 1
    assert generate(*talkative, records, max_new_tokens=6, batch_size=4) == expected
    assert generate(*talkative, records, max_new_tokens=6, batch_size=1) == expected


def test_greedy_is_greedy_whatever_the_models_own_settings(talkative):
    """Qwen2.5 comes with a repetition penalty and sampling in its generation_config.json."""
    expected = generate(*talkative, REVIEWS[:9], max_new_tokens=8)
    settings = {"repetition_penalty": 1.5, "do_sample": True, "temperature": 0.7, "top_k": 20, "top_p": 0.8}
    talkative[0].generation_config.update(**settings)
    assert generate(*talkative, REVIEWS[:9], max_new_tokens=8) == expected


def test_sampling_is_repeatable_and_differs_from_greedy(talkative):
    def sampled(seed):
        torch.manual_seed(seed)
        return generate(*talkative, REVIEWS[:4], max_new_tokens=10, temperature=50.0)

    assert sampled(1) == sampled(1) != sampled(2)
    assert sampled(1) != generate(*talkative, REVIEWS[:4], max_new_tokens=10)


ANSWERS = {"好": "好", "差": "差很差很差"}  # lengths differ, so that in a batch one answer waits for the other


@pytest.fixture(scope="module")
def trained(tiny_base, tmp_path_factory):
    """A run of the tiny model that has learnt `ANSWERS`, all rows under one instruction."""
    rows = [
        Record("判断情感", f"{'书酒店手机'[i % 5]}{word}{'很' * (i % 7)}", answer, system="你是谢")
        for i in range(20)
        for word, answer in ANSWERS.items()
    ]
    config = TrainingConfig(
        base_model=str(tiny_base), precision="fp32", epochs=24, batch_size=8, learning_rate=5e-3, evaluations=2
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_WORKSPACE", str(tmp_path_factory.mktemp("trained")))
        return train(config, {"train": rows[8:], "validation": rows[:8]}, "trained", log=lambda _: None)


def questions(n):
    return [Record("判断情感", f"机{'差好'[i % 2]}{'很' * (i % 9)}", system="你是谢") for i in range(n)]


def test_answers_end_at_the_terminator_and_keep_their_order(trained):
    model, tokenizer = trained.load()
    expected = [ANSWERS[record.input[1]] for record in questions(20)]
    for batch_size in (16, 3, 1):
        assert generate(model, tokenizer, questions(20), batch_size=batch_size) == expected


def test_no_token_is_computed_after_all_have_ended(trained):
    model, tokenizer = trained.load()
    forwards = []
    model.register_forward_hook(lambda *_: forwards.append(1))
    generate(model, tokenizer, questions(4), max_new_tokens=64)
    assert len(forwards) == len("差很差很差") + 1


def test_max_new_tokens_is_the_most_there_is(trained):
    model, tokenizer = trained.load()
    assert generate(model, tokenizer, questions(2), max_new_tokens=2) == ["差很", "好"]


# --- files ---


@pytest.fixture
def seen(monkeypatch):
    """The records that `predict_file` would ask the model about, instead of asking it."""
    records = []

    def spy(model, tokenizer, asked, *_):
        records.extend(asked)
        return [{"prediction": "答"} for _ in asked]

    monkeypatch.setattr(predicting, "predictions", spy)
    return records


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def written(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_predictions_are_added_to_the_rows_as_they_were(trained, tmp_path):
    rows = [{"编号": i, "text": record.input, "标签": None} for i, record in enumerate(questions(5))]
    data, out = jsonl(tmp_path / "in.jsonl", rows), tmp_path / "new" / "out.jsonl"
    assert predict_file(data, out, trained.folder, {"text": "input"}) == 5
    assert written(out) == [row | {"prediction": ANSWERS[row["text"][1]]} for row in rows]
    assert list(written(out)[0]) == ["编号", "text", "标签", "prediction"]

    assert predict_file(data, out, trained.folder, {"text": "input"}, list(ANSWERS.values())) == 5
    for row, line in zip(rows, written(out), strict=True):
        assert line["prediction"] == ANSWERS[row["text"][1]] == max(line["scores"], key=line["scores"].get)
        assert sum(line["scores"].values()) == pytest.approx(1)
        assert {key: line[key] for key in row} == row


@pytest.mark.parametrize(
    "rows, instruction, expected",
    [
        ([{"input": "书好"}], None, ("判断情感", "你是谢")),
        ([{"input": "书好", "instruction": "别的"}], None, ("别的", "你是谢")),
        ([{"input": "书好", "system": "别人"}], None, ("判断情感", "别人")),
        ([{"input": "书好"}], "新的", ("新的", "你是谢")),
        ([{"input": "书好", "instruction": "别的"}], "新的", ("新的", "你是谢")),
    ],
)
def test_instruction_of_a_run(trained, tmp_path, seen, rows, instruction, expected):
    data = jsonl(tmp_path / "in.jsonl", rows)
    predict_file(data, tmp_path / "out.jsonl", trained.folder, {}, instruction=instruction)
    assert [(record.instruction, record.system) for record in seen] == [expected]


def test_a_mapped_instruction_wins_over_the_runs(trained, tmp_path, seen):
    data = jsonl(tmp_path / "in.jsonl", [{"问": "别的", "input": "书好"}])
    predict_file(data, tmp_path / "out.jsonl", trained.folder, {"问": "instruction"})
    assert seen[0].instruction == "别的"


def test_a_base_model_gets_the_rows_alone(tiny_base, tmp_path, seen):
    data = jsonl(tmp_path / "in.jsonl", [{"input": "书好", "output": "答案不给模型看"}])
    predict_file(data, tmp_path / "out.jsonl", str(tiny_base), {})
    assert seen == [Record("", "书好")]


def test_free_answers_of_a_run_with_a_short_maximum(trained, tmp_path, monkeypatch):
    """A run of `max_length` 60 can answer although 64 new tokens are the default."""
    monkeypatch.setattr(type(trained), "config", trained.config.model_copy(update={"max_length": 60}))
    data = jsonl(tmp_path / "in.jsonl", [{"input": "机好"}])
    predict_file(data, tmp_path / "out.jsonl", trained.folder, {})
    assert written(tmp_path / "out.jsonl")[0]["prediction"] == "好"


@pytest.mark.parametrize(
    "rows, mapping, message",
    [
        ([{"评论": "好", "分": "1"}], {"text": "input"}, r"in\.jsonl 里没有「text」这一列。有的列是：分、评论"),
        ([{"text": "好"}, {"text": " "}], {"text": "instruction"}, "第 2 行没有问题"),
        ([{"input": "好"}, {"input": 3}], {}, "第 2 行的「input」不是文本，而是 int"),
        ([{"input": "好"}, {"input": "好", "instruction": "长" * 400}], {}, "第 2 行：.*放不进最大长度"),
    ],
)
def test_bad_rows_are_named_and_nothing_is_written(trained, tmp_path, rows, mapping, message):
    data, out = jsonl(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    for labels in (None, ["好", "差"]):
        with pytest.raises(DataError, match=message):
            predict_file(data, out, trained.folder, mapping, labels)
    assert [path.name for path in tmp_path.iterdir() if path != data] in ([], ["workspace"])


@pytest.mark.parametrize("out", ["out.csv", "folder.jsonl"])
def test_a_place_that_cannot_be_written_is_refused_before_the_model_works(trained, tmp_path, seen, out):
    (tmp_path / "folder.jsonl").mkdir()
    data = jsonl(tmp_path / "in.jsonl", [{"input": "好"}])
    with pytest.raises(DataError, match=r"\.jsonl"):
        predict_file(data, tmp_path / out, trained.folder, {})
    assert not seen


def test_a_run_that_did_not_finish_cannot_predict(trained, tmp_path):
    folder = tmp_path / "half"
    folder.mkdir()
    for name in ("config.yaml", "run.json"):
        (folder / name).write_bytes((trained.folder / name).read_bytes())
    data = jsonl(tmp_path / "in.jsonl", [{"input": "好"}])
    with pytest.raises(ConfigError, match=r"还没有训练完.*--resume"):
        predict_file(data, tmp_path / "out.jsonl", folder, {})
