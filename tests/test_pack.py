"""Which notebook file is handed in: the learner's copy, not the course's own, where nobody answered anything."""

import shutil

import nbformat

from course_utils import copies, notebooks
from course_utils.grading.pack import free_answers, notebook_cells


def test_the_learners_copy_is_read_before_the_courses_own():
    course = notebooks.NOTEBOOKS / "05_legal_qa_exercise.ipynb"
    assert not any(free_answers(notebook_cells("05")[1]).values())  # no copy yet
    copies.folder().mkdir(parents=True)
    mine = copies.folder() / course.name
    shutil.copy(course, mine)
    notebook = nbformat.read(mine, as_version=4)
    cell = next(cell for cell in notebook.cells if notebooks.answer_of(cell) == "answer:05-1")
    cell.source = "不能上线。"
    nbformat.write(notebook, mine)
    assert free_answers(notebook_cells("05")[1])["05-1"] == "不能上线。"
