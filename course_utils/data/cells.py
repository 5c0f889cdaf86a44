"""The texts of a row, and where in it they stand."""

from collections.abc import Iterator

from course_utils.data.records import Record


def cells(row: dict, source: dict[str, str]) -> Iterator[tuple[tuple, str]]:
    """`(path, text)` for each text of a row that the model sees; the path leads to it: `row[path[0]][path[1]]...`"""
    if "conversations" in row:
        for i, turn in enumerate(row["conversations"] if isinstance(row["conversations"], list) else ()):
            if isinstance(turn, dict) and isinstance(turn.get("value"), str):
                yield ("conversations", i, "value"), turn["value"]
        source = {"system": "system"}
    for column in source.values():
        value = row.get(column)
        if isinstance(value, str):
            yield (column,), value
        elif isinstance(value, list):
            for i, pair in enumerate(value):
                for j, text in enumerate(pair if isinstance(pair, list | tuple) else ()):
                    if isinstance(text, str):
                        yield (column, i, j), text


def answer_path(row: dict, source: dict[str, str]) -> tuple:
    """The path of the answer, see `cells`."""
    if "conversations" in row:
        turns = row["conversations"]
        return ("conversations", len(turns) - 1 if isinstance(turns, list) else 0, "value")
    return (source.get("output", "output"),)


def place(path: tuple) -> str:
    """A path as the learner knows it."""
    if len(path) == 1:
        return str(path[0])
    return f"第 {path[1] + 1} 轮" if path[0] == "conversations" else f"{path[0]} 第 {path[1] + 1} 轮"


def squeeze(text: str) -> str:
    """Every run of blanks as one space."""
    return " ".join(text.split())


def question_key(record: Record) -> str:
    """The same for two records that ask the same, blanks apart."""
    return "\n".join(f"{m['role']} {squeeze(m['content'])}" for m in record.messages()[:-1])
