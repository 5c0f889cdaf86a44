"""The panel that makes question and answer pairs out of a document: chunks, pairs beside their source, save."""

import hashlib
import os
import re
from pathlib import Path

import ipywidgets as widgets

from course_utils import llm, paths
from course_utils.data.documents import Chunk, chunks, read_document
from course_utils.data.extract import Extraction, extract
from course_utils.data.extract_llm import extract_llm
from course_utils.data.outline import Document
from course_utils.data.versions import save_pairs
from course_utils.errors import ConfigError, DataError
from course_utils.widgets.base import Panel, cell, heading, html_table, in_workspace, note, table
from course_utils.widgets.pairs import PairList
from course_utils.widgets.pieces import LongWork, keep_upload, path_in_code

STEPS = ("1 文档与分段", "2 抽取与核对", "3 保存")
SUFFIXES = (".txt", ".md", ".html", ".htm", ".docx", ".pdf")
OFFLINE, MODEL = "离线抽取", "大模型抽取"
AUTOMATIC = "自动"
WIDE = widgets.Layout(width="460px")
LABEL = {"description_width": "7em"}
SHOWN = 100  # lines of a table


def extract_panel() -> None:
    """Show the panel that extracts pairs from a document."""
    ExtractPanel().show()


class ExtractPanel(Panel):
    title = "问答对抽取"
    purpose = "从文档或网页里抽取问答对：先看怎么分段，再抽取，对照原文核对，最后存成数据集。"

    def __init__(self):
        super().__init__()
        self.document: Document | None = None
        self.pieces: list[Chunk] = []
        self.found: Extraction | None = None
        self.pairs = PairList(self.renew)
        pages = [self._document_page(), self._pairs_page(), self._save_page()]
        self.steps = widgets.Tab([widgets.VBox(page) for page in pages], titles=STEPS)
        self.body.children = [self.steps]
        self.renew()

    # --- the pages ---

    def _document_page(self) -> list[widgets.Widget]:
        advice = f"可以读 {'、'.join(SUFFIXES)} 文件（10 MB 以内），或者 http、https 网址。"
        rule = (
            "分隔符空着就是自动：按标题和长度分段。也可以写一行开头的文字（如 ###），写“空行”，或者 re: 加正则表达式。"
        )
        self.upload = widgets.FileUpload(description="上传文件", accept=",".join(SUFFIXES))
        self.upload.observe(self._uploaded, "value")
        self.where = widgets.Combobox(
            description="路径或网址", placeholder="例如 说明书.pdf", options=_files(), style=LABEL, layout=WIDE
        )
        self.separator = widgets.Combobox(
            description="分隔符", placeholder=AUTOMATIC, options=("空行", "###", "---"), style=LABEL, layout=WIDE
        )
        self.separator.observe(lambda _: self._recut(), "value")
        read = self.button("读取并分段", self.read, "正在读取……", "primary")
        self.preview = widgets.HTML()
        return [widgets.HTML(note(advice)), self.upload, self.where, self.separator, widgets.HTML(note(rule)), read,
                self.preview]  # fmt: skip

    def _pairs_page(self) -> list[widgets.Widget]:
        ways = [OFFLINE, MODEL] if llm.configured() else [OFFLINE]
        self.way = widgets.Dropdown(options=ways, description="方式", style=LABEL, layout=WIDE)
        self.way.observe(lambda _: (self._explain(), self.renew()), "value")
        self.about = widgets.HTML()
        self.work = LongWork(self, "抽取", self.extract, "正在抽取……")
        self.dropped = widgets.HTML()
        self._explain()
        return [self.way, self.about, widgets.HBox([self.work.begin, self.work.end]), self.pairs.view, self.dropped]

    def _save_page(self) -> list[widgets.Widget]:
        legend = (
            "问题存为指令，答案存为输出；原文的出处、位置和那一句话也一起存。没有勾选的和没有用的，记在 dropped.jsonl 里。\n"
            "同名的数据集会多一个版本，旧的版本不动。"
        )
        self.name = widgets.Text(description="保存为", style=LABEL, layout=WIDE)
        self.partial = widgets.Checkbox(description="有的段没有抽取成功，也保存成功的部分", indent=False)
        self.partial.layout = widgets.Layout(width="auto", display="none")
        save = self.button("保存为数据集", self.save, "正在保存……", "primary")
        return [widgets.HTML(note(legend)), self.name, self.partial, save]

    def _explain(self) -> None:
        if self.way.value == MODEL:
            text = (
                f"让 {os.environ['COURSE_LLM_MODEL']}（{os.environ['COURSE_LLM_BASE_URL']}）一段一段地写，"
                "文档会发给这个服务。做完的段会记下来，停了再抽取就接着做。"
            )
        else:
            text = "按标题、列表、表格和句式抽取：不用模型，不联网，同样的文档总得到同样的结果。"
            if not llm.configured():
                text += f"想让大模型来写，请先设置环境变量 {'、'.join(llm.VARIABLES)}，再重新运行。"
        self.about.value = note(text)

    # --- what the buttons do ---

    def _uploaded(self, _) -> None:
        if not self.upload.value:
            return
        with self.working("正在读取……"):
            self.where.value = str(keep_upload(self.upload.value[0]))
            self.read()
        self.upload.value = ()  # the bytes are on disk; here they would stay in memory and in the page

    @property
    def source(self) -> str:
        """The address or the path that was given. Raises `DataError` when there is none."""
        if not self.where.value.strip():
            raise DataError("还没有文档。请上传一个文件，或者写出它的路径或网址。")
        return self.where.value.strip()

    def read(self) -> None:
        """Read the document and show its chunks."""
        document = self.document = read_document(self.source)
        self.name.value = re.sub(r'[/\\:*?"<>|.]+', "_", document.title or Path(document.source).stem).strip("_")[:40]
        self.cut()

    @property
    def rule(self) -> str | None:
        """The separator; None when it is automatic."""
        return None if self.separator.value in ("", AUTOMATIC) else self.separator.value

    def _recut(self) -> None:
        """Another separator: another preview."""
        if self.document is not None:
            with self.working():
                self.cut()

    def cut(self) -> None:
        """Show the chunks; pairs of other chunks are no longer true."""
        document = self.document
        self.pieces, self.found, self.preview.value = [], None, ""
        self.pairs.clear()
        self.dropped.value, self.partial.layout.display = "", "none"
        pieces = self.pieces = chunks(document, self.rule)
        lines = [{"段": c.number, "字数": c.end - c.start, "内容": cell(c.text, 100)} for c in pieces[:SHOWN]]
        more = note(f"共 {len(pieces)} 段，表里是前 {SHOWN} 段。") if len(pieces) > SHOWN else ""
        self.preview.value = heading("分段预览") + html_table(lines) + more
        self.say(f"读到《{document.title or document.source}》，{len(document.text):,} 个字符，分成 {len(pieces)} 段。")

    def extract(self) -> None:
        """Extract the pairs, in a thread."""
        if self.document is None:
            raise ConfigError("请先在「1 文档与分段」里读取一个文档。")
        document, separator = self.document, self.rule
        if self.way.value == MODEL:
            found = extract_llm(document, separator, _progress_file(document), self.work.tick)
        else:
            found = extract(document, separator)
        self.work.tick(1)
        self.found = found
        self.pairs.show(document, found.pairs)
        lines = [{"原因": d.reason, "内容": d.text, "位置": f"{d.start}–{d.end}"} for d in found.dropped[:SHOWN]]
        self.dropped.value = heading(f"没有用的 {len(found.dropped)} 处") + table(lines) if lines else ""
        failed = getattr(found, "failed", {})
        self.partial.layout.display = "" if failed else "none"
        text = f"抽取到 {len(found.pairs)} 个问答对，另有 {len(found.dropped)} 处没有用，原因在下面的表里。"
        if failed:
            numbers, reason = "、".join(map(str, failed)), next(iter(failed.values()))
            text += f"\n第 {numbers} 段没有抽取成功：{reason}\n再点一次「抽取」，会接着做没完成的。"
        elif not found.pairs:
            text = "一个问答对也没有抽取到。请换一个分隔符，或者换一个有标题、列表、规定的文档。"
        self.say(text, "wrong" if failed or not found.pairs else "done")

    def save(self) -> None:
        if self.found is None:
            raise ConfigError("还没有问答对。请先在「2 抽取与核对」里抽取。")
        made = save_pairs(self.document, self.found, self.name.value.strip(), self.pairs.left_out, self.partial.value,
                          **self._how)  # fmt: skip
        rows = sum(made.lineage["rows"].values())
        self.say(f"已保存 {rows} 个问答对：数据集「{made.name}」第 {made.version} 版，在 {in_workspace(made.folder)}。")

    @property
    def _how(self) -> dict:
        return {"method": self.way.value, "separator": self.rule or AUTOMATIC}

    # --- the same in code, and what stays ---

    def code(self) -> str:
        where, separator = self.where.value.strip() or "说明书.pdf", self.rule
        place = repr(where) if "://" in where else path_in_code(Path(where))
        how = "extract_llm" if self.way.value == MODEL else "extract"
        left_out = sorted(self.pairs.left_out)
        kept = (f", leave_out={left_out}" if left_out else "") + (", allow_partial=True" if self.partial.value else "")
        return f"""\
from course_utils import paths
from course_utils.data.documents import chunks, read_document
from course_utils.data.{how} import {how}
from course_utils.data.versions import save_pairs

document = read_document({place})
chunks(document, {separator!r})
found = {how}(document, {separator!r})
found.pairs, found.dropped
save_pairs(document, found, {self.name.value!r}{kept}, method={self.way.value!r},
           separator={self._how["separator"]!r})"""

    def result(self) -> str:
        pairs = heading("问答对") + self.pairs.still() if self.pairs.pairs else ""
        return self.preview.value + pairs + self.dropped.value + self.message.value


def _progress_file(document: Document) -> Path:
    """Where a stopped extraction goes on from."""
    key = hashlib.sha256(f"{document.source}\n{document.text}".encode()).hexdigest()[:12]
    return paths.workspace() / "extracts" / f"{key}.json"


def _files() -> tuple[str, ...]:
    """Documents beside the notebook and among the uploads."""
    here, uploads = Path.cwd(), paths.workspace() / "uploads"
    found = [path for folder in (here, uploads) for path in folder.glob("*") if path.suffix.lower() in SUFFIXES]
    return tuple(path.name if path.parent == here else str(path) for path in sorted(found))
