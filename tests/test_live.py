"""What follows a slider, without a browser."""

import ipywidgets as widgets
import numpy as np
import torch

from course_utils.errors import ConfigError
from course_utils.models.pictures import kept, matrices_picture, rank_picture, tokens_picture
from course_utils.widgets import live as module


def shown(monkeypatch):
    found = []
    monkeypatch.setattr(module, "display", found.append)
    return found


def test_it_follows_and_says_what_is_wrong(monkeypatch):
    found = shown(monkeypatch)

    def show(rank):
        if rank == 3:
            raise ConfigError("秩不能是 3")
        return matrices_picture({"一": np.full((2, 2), float(rank))})

    slider = widgets.IntSlider(value=1, min=1, max=3)
    module.live(show, rank=slider)
    view = found[0].children[1]
    first = view.value
    assert "data:image/png;base64," in first
    slider.value = 2
    assert "data:image/png" in view.value and view.value != first
    slider.value = 3
    assert "秩不能是 3" in view.value


def test_the_closest_matrix_of_a_rank_is_that_of_the_svd():
    torch.manual_seed(0)
    thin = torch.randn(6, 2) @ torch.randn(2, 8)
    closest, lost = kept(thin, 2)
    assert torch.allclose(closest, thin, atol=1e-5) and lost < 1e-10
    _, lost = kept(thin, 1)
    values = torch.linalg.svdvals(thin)
    assert abs(lost - float(values[1] ** 2 / (values[:2] ** 2).sum())) < 1e-5


def test_the_pictures_show_what_they_are_given():
    figure = tokens_picture({"从前": {"\n": 0.5, "有": 0.25}}, title="下一个")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["⏎", "有"]
    assert [bar.get_width() for bar in figure.axes[0].patches] == [0.5, 0.25]
    figure = rank_picture({"W": torch.eye(4)}, (1, 2, 4, 8))
    assert figure.axes[0].lines[0].get_ydata().tolist() == [0.25, 0.5, 1.0]
