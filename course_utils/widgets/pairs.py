"""Question and answer pairs beside the place of the text that they come from; each can be left out."""

import html
from collections.abc import Callable, Sequence

import ipywidgets as widgets

from course_utils.data.extract import Pair
from course_utils.data.outline import Document
from course_utils.widgets.base import cell, html_table, note
from course_utils.widgets.pieces import FOUND

PAGE = 6  # pairs at once: each is two widgets
AROUND = 28  # characters of the text on either side
STILL = 100  # pairs in what stays when the notebook is closed


class PairList:
    """Shows `pairs`, a page at a time. left_out: the numbers, from 1, of those that are not ticked. changed: called
    after a tick.
    """

    def __init__(self, changed: Callable[[], None]):
        self.changed, self.document, self.pairs = changed, None, []
        self.left_out: set[int] = set()
        self.first, self.showing = 0, False
        self.ticks = [widgets.Checkbox(indent=False, layout=widgets.Layout(width="90px")) for _ in range(PAGE)]
        self.cards = [widgets.HTML(layout=widgets.Layout(flex="1")) for _ in range(PAGE)]
        for tick in self.ticks:
            tick.observe(self._ticked, "value")
        self.lines = [widgets.HBox(pair) for pair in zip(self.ticks, self.cards, strict=True)]
        self.place = widgets.HTML()
        self.back, self.on = self._turn("上一页", -PAGE), self._turn("下一页", PAGE)
        every, none = self._tick_all("全部勾选", True), self._tick_all("全部不选", False)
        self.view = widgets.VBox([self.place, *self.lines, widgets.HBox([self.back, self.on, every, none])])
        self.clear()

    def clear(self) -> None:
        self.show(None, [])

    def show(self, document: Document | None, pairs: Sequence[Pair]) -> None:
        """Begin with these pairs, all ticked."""
        self.document, self.pairs, self.first = document, list(pairs), 0
        self.left_out = set()
        self._page()

    def still(self) -> str:
        """The pairs as a table."""
        lines = [
            {"勾选": "" if n in self.left_out else "✓", "问答": self._said(pair), "原文": self._source(pair)}
            for n, pair in enumerate(self.pairs[:STILL], 1)
        ]
        more = note(f"共 {len(self.pairs)} 对，这里是前 {STILL} 对。") if len(self.pairs) > STILL else ""
        return html_table(lines) + more

    def _page(self) -> None:
        self.showing, total = True, len(self.pairs)
        self.view.layout.display = "" if total else "none"
        for i, (line, tick, card) in enumerate(zip(self.lines, self.ticks, self.cards, strict=True)):
            number = self.first + i + 1
            line.layout.display = "" if number <= total else "none"
            if number <= total:
                pair = self.pairs[number - 1]
                tick.description, tick.value = f"第 {number} 对", number not in self.left_out
                card.value = (
                    '<div style="display: grid; grid-template-columns: 1fr 1fr; gap: 20px; padding: 6px 0; '
                    f'border-bottom: 1px solid var(--jp-border-color2, #ddd)"><div>{self._said(pair)}</div>'
                    f"<div>{self._source(pair)}</div></div>"
                )
        last = min(self.first + PAGE, total)
        kept = total - len(self.left_out)
        self.place.value = note(
            f"第 {self.first + 1}–{last} 对，共 {total} 对，勾选了 {kept} 对。右边是原文，标出的是答案所在。"
        )
        self.back.disabled, self.on.disabled = self.first == 0, last == total
        self.showing = False

    def _ticked(self, change) -> None:
        if self.showing:  # set by a turn of the page
            return
        number = self.first + self.ticks.index(change.owner) + 1
        self.left_out ^= {number}
        self._page()
        self.changed()

    def _turn(self, label: str, by: int) -> widgets.Button:
        made = widgets.Button(description=label)

        def turn(_):
            self.first += by
            self._page()

        made.on_click(turn)
        return made

    def _tick_all(self, label: str, on: bool) -> widgets.Button:
        made = widgets.Button(description=label)

        def tick(_):
            self.left_out = set() if on else set(range(1, len(self.pairs) + 1))
            self._page()
            self.changed()

        made.on_click(tick)
        return made

    def _said(self, pair: Pair) -> str:
        return f"<b>{html.escape(pair.question)}</b><br>{html.escape(pair.answer)}"

    def _source(self, pair: Pair) -> str:
        text = self.document.text
        before, after = text[max(0, pair.start - AROUND) : pair.start], text[pair.end : pair.end + AROUND]
        cut = "……" if pair.start > AROUND else ""
        more = "……" if pair.end + AROUND < len(text) else ""
        before, inside, after = (cell(part, len(text)) for part in (before, text[pair.start : pair.end], after))
        whole = f'{cut}{before}<mark style="{FOUND}">{inside}</mark>{after}{more}'
        return f'{whole}<div class="course-note">{pair.kind}，第 {pair.chunk} 段</div>'
