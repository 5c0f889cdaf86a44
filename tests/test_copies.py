"""`course lab` and the learner's notebooks: new ones come, old ones are renewed, and nothing of theirs is lost."""

import nbformat
import pytest

from course_utils import cli, copies


def notebook(*sources):
    """A notebook as the course builds it: a source that begins with # is text; ids say the place."""
    made = nbformat.v4.new_notebook()
    for place, source in enumerate(sources):
        cell = nbformat.v4.new_markdown_cell(source) if source[0] == "#" else nbformat.v4.new_code_cell(source)
        cell.id = f"s1-{place:02}"
        made.cells.append(cell)
    return made


FIRST = ("# 一", "load()", "# 看表", "answer = None\n...  # 在这里写你的代码\ncheck('01-1', answer)", "# 做完了吗")


@pytest.fixture
def course(tmp_path, monkeypatch):
    """The course's folder; `course(...)` writes a version of its one notebook."""
    monkeypatch.setattr(copies, "COURSE", tmp_path / "course")
    copies.COURSE.mkdir()

    def publish(*sources, name="01_test"):
        nbformat.write(notebook(*sources), copies.COURSE / f"{name}.ipynb")

    publish(*FIRST)
    copies.update()
    return publish


@pytest.fixture
def mine(course):
    """The learner's copy; `mine(change)` changes it as JupyterLab would: cells keep their ids."""

    def change(do=lambda cells: None):
        path = copies.folder() / "01_test.ipynb"
        found = nbformat.read(path, as_version=4)
        do(found.cells)
        nbformat.write(found, path)
        return found

    return change


def sources(name="01_test"):
    return [cell.source for cell in nbformat.read(copies.folder() / f"{name}.ipynb", as_version=4).cells]


def backups():
    return list((copies.folder() / ".backups").glob("*.ipynb"))


def test_new_notebooks_are_copied_byte_for_byte(course):
    course("# 二", name="02_test")
    assert copies.update() == []
    for name in ("01_test", "02_test"):
        assert (copies.folder() / f"{name}.ipynb").read_bytes() == (copies.COURSE / f"{name}.ipynb").read_bytes()


def test_what_the_learner_changed_stays_when_the_course_did_not_change(course, mine):
    mine(lambda cells: cells[3].update(source="answer = 3"))
    before = (copies.folder() / "01_test.ipynb").read_bytes()
    assert copies.update() == [] and copies.update(merge=True) == []
    assert (copies.folder() / "01_test.ipynb").read_bytes() == before


def test_an_untouched_notebook_is_renewed_and_keeps_its_outputs(course, mine):
    def ran(cells):
        for cell in cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [nbformat.v4.new_output("stream", text="42")], 7

    mine(ran)
    course("# 一", "load()", "# 看上面的表", *FIRST[3:], "# 新的一格")
    assert copies.update() == []
    assert sources() == ["# 一", "load()", "# 看上面的表", *FIRST[3:], "# 新的一格"]
    assert nbformat.read(copies.folder() / "01_test.ipynb", as_version=4).cells[1].outputs[0].text == "42"
    assert not backups()


def test_both_changed_nothing_is_written_and_one_line_says_so(course, mine):
    mine(lambda cells: cells[3].update(source="answer = 3"))
    course("# 一（改）", *FIRST[1:])
    before = (copies.folder() / "01_test.ipynb").read_bytes()
    for _ in range(2):
        (line,) = copies.update()
        assert "01_test" in line and "course lab --merge" in line
    assert (copies.folder() / "01_test.ipynb").read_bytes() == before and not backups()


def test_a_merge_takes_what_only_one_side_changed(course, mine):
    def change(cells):
        cells[3].source = "answer = 3"
        cells.insert(2, nbformat.v4.new_code_cell("print('我自己的')"))
        del cells[-1]

    mine(change)
    before = (copies.folder() / "01_test.ipynb").read_bytes()
    course("# 零", "# 一", "load(20)", "# 看表", FIRST[3], "# 做完了吗")
    (line,) = copies.update(merge=True)
    assert "没有冲突" in line
    assert sources() == ["# 零", "# 一", "load(20)", "print('我自己的')", "# 看表", "answer = 3"]
    assert [path.read_bytes() for path in backups()] == [before]
    assert copies.update() == []


def test_where_both_changed_theirs_is_followed_by_ours_with_a_mark(course, mine):
    mine(lambda cells: (cells[1].update(source="load(5)"), cells[2].update(source="# 看表，我记下：三行")))
    course("# 一", "load(rows=9)", "# 看表里的行", *FIRST[3:])
    (line,) = copies.update(merge=True)
    assert "有 2 格两边都改了" in line
    assert sources()[1:5] == [
        "load(5)",
        "# 课程的新版：\nload(rows=9)",
        "# 看表，我记下：三行",
        "**课程的新版**\n\n# 看表里的行",
    ]
    course("# 一", "load(rows=9)", "# 看表里的行", FIRST[3], "# 真的做完了吗")
    (line,) = copies.update(merge=True)
    assert "没有冲突" in line, "a second merge does not ask again about what the first settled"
    assert sources()[1:5] == [
        "load(5)",
        "# 课程的新版：\nload(rows=9)",
        "# 看表，我记下：三行",
        "**课程的新版**\n\n# 看表里的行",
    ]
    assert sources()[-1] == "# 真的做完了吗"


def test_a_cell_of_theirs_stays_when_the_course_has_dropped_it(course, mine):
    mine(lambda cells: cells[1].update(source="load()  # 我的笔记"))
    course("# 一", "# 看表", FIRST[3])
    copies.update(merge=True)
    assert sources() == ["# 一", "load()  # 我的笔记", "# 看表", FIRST[3]], "and the closing text, unchanged, is gone"


def test_ids_stay_apart(course, mine):
    mine(lambda cells: cells[1].update(source="load()  # 我的笔记"))
    course("# 一", "# 看表", "别的()", FIRST[3])
    copies.update(merge=True)
    ids = [cell.id for cell in nbformat.read(copies.folder() / "01_test.ipynb", as_version=4).cells]
    assert len(set(ids)) == len(ids)


def test_what_is_no_notebook_is_left_alone(course):
    path = copies.folder() / "01_test.ipynb"
    path.write_text("{一半")
    course("# 新的", *FIRST[1:])
    (line,) = copies.update(merge=True)
    assert "读不出来" in line and path.read_text() == "{一半"


def test_a_file_of_their_own_with_the_name_of_a_new_notebook_is_left_alone(course):
    path = copies.folder() / "02_test.ipynb"
    path.write_text("我的")
    course("# 二", name="02_test")
    (line,) = copies.update(merge=True)
    assert "02_test.ipynb" in line and path.read_text() == "我的"


def test_a_copy_that_was_removed_comes_again(course):
    (copies.folder() / "01_test.ipynb").unlink()
    copies.update()
    assert sources() == list(FIRST)


def test_lab_opens_the_copies_and_passes_options_on(course, mine, monkeypatch, capsys):
    seen = {}

    def run(module, options, folder, environment):
        seen.update(module=module, options=options, folder=folder, environment=environment)
        return 0

    monkeypatch.setattr(cli, "_run", run)
    monkeypatch.setattr("sys.argv", ["course", "lab", "--no-browser", "--merge", "--port=9"])
    mine(lambda cells: cells[3].update(source="answer = 3"))
    course("# 一（改）", *FIRST[1:])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0 and seen["folder"] == copies.folder()
    assert seen["options"][-2:] == ["--no-browser", "--port=9"]
    assert "合并好了" in capsys.readouterr().out and sources()[0] == "# 一（改）"
    assert (cli.JUPYTER / "labconfig" / "page_config.json").exists()
