"""The panel that brings a learner's file into the workspace: file, mapping, check, preview, split and save."""

from pathlib import Path

import ipywidgets as widgets

from course_utils import paths
from course_utils.data.building import import_rows, split_dataset
from course_utils.data.decode import SUFFIXES
from course_utils.data.formats import read_rows
from course_utils.data.mapping import suggest
from course_utils.data.records import to_records
from course_utils.data.split import TITLES
from course_utils.data.store import DataSet
from course_utils.errors import ConfigError, DataError
from course_utils.models.load import load_tokenizer
from course_utils.models.preview import preview
from course_utils.training.config import TrainingConfig
from course_utils.widgets.base import Panel, heading, in_workspace, note, table
from course_utils.widgets.checking import CheckForm
from course_utils.widgets.mapping import MappingForm
from course_utils.widgets.pieces import keep_upload, path_in_code

STEPS = ("1 文件", "2 映射", "3 检查", "4 预览", "5 切分与保存")
FILE, MAPPING, CHECK, PREVIEW, SAVE = range(5)
WIDE = widgets.Layout(width="460px")
LABEL = {"description_width": "7em"}


def import_panel() -> None:
    """Show the panel that imports a file."""
    ImportPanel().show()


class ImportPanel(Panel):
    title = "导入数据"
    purpose = "把自己的文件变成训练数据：指明每一列是什么，检查和修复，看一看模型眼里的样子，然后切分、保存。"

    def __init__(self):
        super().__init__()
        self.path: Path | None = None
        self.rows: list[dict] = []
        self.imported: DataSet | None = None  # not split yet
        self.tokenizer = None
        self.form = MappingForm(self._changed)
        self.doctor = CheckForm(self, self._changed)
        mapping_note = note("哪一列是什么，已经按列名猜好，请核对。至少要有问题（指令或输入）和答案。")
        pages = [
            self._file_page(),
            [widgets.HTML(mapping_note), self.form.view, self._to("下一步：检查", CHECK)],
            [self.doctor.view, self._to("下一步：预览", PREVIEW)],
            self._preview_page(),
            self._save_page(),
        ]
        self.steps = widgets.Tab([widgets.VBox(page) for page in pages], titles=STEPS)
        self.steps.observe(lambda _: self.enter(), "selected_index")
        self.body.children = [self.steps]
        self.renew()

    # --- the pages ---

    def _file_page(self) -> list[widgets.Widget]:
        advice = (
            f"可以读 {'、'.join(SUFFIXES)} 文件。用 course lab 打开时，可以上传 100 MB 以内的文件；"
            "别的方式打开的 JupyterLab 只能传 8 MB，更大的文件请拖进左边的文件栏，再在下面写它的路径。"
        )
        self.upload = widgets.FileUpload(description="上传文件", accept=",".join(SUFFIXES))
        self.upload.observe(self._uploaded, "value")
        self.where = widgets.Combobox(
            description="或写路径", placeholder="例如 评论.csv", options=_files(), style=LABEL, layout=WIDE
        )
        read = self.button("读取文件", self.read, "正在读取……", "primary")
        self.first_rows = widgets.HTML()
        return [widgets.HTML(note(advice)), self.upload, widgets.HBox([self.where, read]), self.first_rows,
                self._to("下一步：映射", MAPPING)]  # fmt: skip

    def _preview_page(self) -> list[widgets.Widget]:
        legend = note("这就是模型看到的样子。绿色是模型要学着说的，其余只是给它看的；竖线隔开 token。")
        self.number = widgets.BoundedIntText(1, min=1, max=1, description="第几行", style=LABEL)
        self.number.observe(lambda _: self.enter(), "value")
        self.seen = widgets.HTML()
        return [widgets.HTML(legend), self.number, self.seen, self._to("下一步：切分与保存", SAVE)]

    def _save_page(self) -> list[widgets.Widget]:
        legend = (
            "训练集用来学，验证集用来在训练中看效果，测试集留到最后才用。几乎相同的行总在同一份里。\n"
            "保存在工作区里；同名的数据集会多一个版本，旧的版本不动。"
        )
        self.shares = [
            widgets.BoundedIntText(share, min=0, max=100, step=5, description=f"{title} %", style=LABEL)
            for title, share in zip(TITLES.values(), (70, 15, 15), strict=True)
        ]
        self.seed = widgets.BoundedIntText(42, min=0, max=2**31 - 1, description="随机种子", style=LABEL)
        for control in (*self.shares, self.seed):
            control.layout.width = "200px"
        self.name = widgets.Text(description="保存为", style=LABEL, layout=WIDE)
        save = self.button("切分并保存", self.save, "正在找几乎相同的行，然后切分（十万行约半分钟）……", "primary")
        self.sizes = widgets.HTML()
        return [widgets.HTML(note(legend)), widgets.HBox(self.shares), self.seed, self.name, save, self.sizes]

    def _to(self, label: str, step: int) -> widgets.Button:
        made = widgets.Button(description=label)
        made.on_click(lambda _: setattr(self.steps, "selected_index", step))
        return made

    def enter(self) -> None:
        """Show what the chosen step shows without being asked."""
        step = self.steps.selected_index
        with self.working():
            if step != FILE and not self.doctor.rows:
                raise ConfigError("请先在「1 文件」里读取一个文件。")
            if step == CHECK:
                self.doctor.look(self.form.mapping)
            elif step == PREVIEW:
                self.preview()

    # --- what the buttons do ---

    def _uploaded(self, _) -> None:
        if not self.upload.value:
            return
        file = self.upload.value[0]
        with self.working("正在读取……"):
            self.where.value = str(keep_upload(file))
            self.read()
        self.upload.value = ()  # the bytes are on disk; here they would stay in memory and in the page

    def read(self) -> None:
        """Read the file and guess its mapping."""
        if not self.where.value.strip():
            raise DataError("还没有文件。请上传一个，或者写出它的路径。")
        path = Path(self.where.value.strip()).expanduser()
        rows = read_rows(path, self.advance)
        self.path, self.rows = path, rows
        self.doctor.open(rows)
        self.form.show(suggest(rows), rows)
        self.name.value, self.number.max = path.stem, len(rows)
        self.first_rows.value = heading("前 3 行") + table(rows[:3])
        self.say(f"从 {path.name} 读到 {len(rows):,} 行。")

    def _changed(self) -> None:
        """What was made of other rows or another mapping is no longer true."""
        self.imported, self.sizes.value, self.seen.value = None, "", ""
        self.renew()

    def preview(self) -> None:
        """Show one row as the model sees it."""
        config, number, rows = TrainingConfig(), self.number.value, self.doctor.rows
        self.number.max = len(rows)
        if self.tokenizer is None:
            self.say("正在打开分词器……", "busy")
            self.tokenizer = load_tokenizer(config.base_model, lambda text: self.say(text, "busy"))
        mapping = self.form.mapping
        try:
            (record,) = to_records(rows[number - 1 : number], mapping.columns, mapping.constants)
        except DataError as error:
            self.seen.value = ""
            raise DataError(str(error).replace("第 1 行", f"第 {number} 行", 1)) from None
        seen = preview(record, self.tokenizer, config.max_length)
        self.seen.value = seen._repr_html_()
        self.say(f"第 {number} 行：{seen.summary}")

    def save(self) -> None:
        """Import once for the same rows and name; another split is then only one more version."""
        name = self.name.value.strip()
        if not self.rows:
            raise ConfigError("请先在「1 文件」里读取一个文件。")
        if self.imported is None or self.imported.name != name:
            doctor = self.doctor
            self.imported = import_rows(self.rows, self.form.mapping, name, self.path, doctor.kinds, doctor.drop.value)
        saved, parts = split_dataset(self.imported, self._shares, self.seed.value)
        self.sizes.value = heading("切分的结果") + table(parts.report())
        left_out = len(self.imported.dropped())
        self.say(
            f"已保存为数据集「{saved.name}」第 {saved.version} 版，在 {in_workspace(saved.folder)}。\n{parts.summary()}"
            + (f"\n去掉的 {left_out} 行记在第 {self.imported.version} 版的 dropped.jsonl 里。" if left_out else "")
        )

    @property
    def _shares(self) -> tuple[float, ...]:
        return tuple(control.value / 100 for control in self.shares)

    # --- the same in code, and what stays ---

    def code(self) -> str:
        path, name = self.path or Path("我的数据.csv"), self.name.value or "我的数据"
        try:
            mapping = self.form.mapping
            chosen = f"Mapping({mapping.columns}, {mapping.constants})" if self.path else "suggest(rows)"
        except ConfigError:
            chosen = "suggest(rows)"
        arguments = f", repairs={self.doctor.kinds}" if self.doctor.kinds else ""
        arguments += ", drop=True" if self.doctor.drop.value else ""
        return f"""\
from course_utils import paths
from course_utils.data.building import import_rows, split_dataset
from course_utils.data.doctor import check
from course_utils.data.formats import read_rows
from course_utils.data.mapping import Mapping, suggest
from course_utils.data.records import to_records
from course_utils.models.load import load_tokenizer
from course_utils.models.preview import preview

path = {path_in_code(path)}
rows = read_rows(path)
mapping = {chosen}
print(check(rows, mapping).summary())

number = {self.number.value}
records = to_records(rows[number - 1 : number], mapping.columns, mapping.constants)
print(preview(records[0], load_tokenizer({TrainingConfig().base_model!r})))

dataset = import_rows(rows, mapping, {name!r}, path{arguments})
dataset, parts = split_dataset(dataset, {self._shares}, seed={self.seed.value})
print(parts.summary())"""

    def result(self) -> str:
        shown = {"检查": self.doctor.problems, "预览": self.seen}
        parts = [heading(title) + widget.value for title, widget in shown.items() if widget.value]
        return "".join([self.first_rows.value, *parts, self.sizes.value, self.message.value])


def _files() -> tuple[str, ...]:
    """Files that could be meant: beside the notebook and among the uploads."""
    folders = (Path.cwd(), paths.workspace() / "uploads")
    found = [path for folder in folders for path in folder.glob("*") if path.suffix.lower() in SUFFIXES]
    return tuple(str(path.relative_to(Path.cwd()) if path.parent == Path.cwd() else path) for path in sorted(found))
