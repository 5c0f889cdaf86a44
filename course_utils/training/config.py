"""Every knob of a fine-tune, in one model: the form, the messages and the documentation are made from it."""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from course_utils.errors import ConfigError

MOST_TOKENS = 1 << 20  # of one step, on any machine
MODULES = {
    "all": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "attention": ["q_proj", "k_proj", "v_proj", "o_proj"],
    "mlp": ["gate_proj", "up_proj", "down_proj"],
    "q_v": ["q_proj", "v_proj"],
}


def knob(
    default, label: str, help: str, group: str = "基础", step: float | None = None, names: dict | None = None, **limits
) -> Any:
    """A field with what its form needs: Chinese label, help, group, step, range, and the Chinese names of its options."""
    extra = {"group": group, "step": step, "names": names or {}}
    return Field(default, title=label, description=help, json_schema_extra=extra, **limits)


class TrainingConfig(BaseModel, extra="forbid", validate_assignment=True):
    """The settings of one fine-tune; the names follow 讯飞星辰MaaS's form, the defaults suit two CPU cores."""

    base_model: str = knob("gemma-3-270m", "基座模型", "目录里的名字，或者一个本地模型文件夹")
    task: Literal["generation", "classification"] = knob(
        "generation",
        "任务类型",
        "文本生成：模型写出答案，什么任务都能做；文本分类：在基座上接一个分类头，只能从训练过的标签里选",
        names={"generation": "文本生成", "classification": "文本分类"},
    )
    method: Literal["lora", "full"] = knob(
        "lora",
        "微调方法",
        "LoRA 只训练旁路的小矩阵；全参训练模型本身的权重",
        names={"lora": "LoRA", "full": "全参"},
    )
    learning_rate: float = knob(
        4e-4, "学习率", "每一步走多大；LoRA 常用 1e-4 到 5e-4，全参常用 1e-5 到 5e-5", step=1e-5, gt=0, le=1e-2
    )
    epochs: float = knob(1.0, "训练次数", "把训练集完整看几遍", step=0.5, gt=0, le=50)
    max_length: int = knob(
        256, "最大长度", "一条数据最多多少个 token，更长的会截短输入，答案不截", step=32, ge=16, le=32768
    )
    precision: Literal["auto", "bf16", "fp16", "fp32"] = knob(
        "auto",
        "数值精度",
        "自动：处理器支持时用 bf16，否则 fp32；fp16 只能用在 GPU 上",
        names={"auto": "自动"},
    )
    lora_modules: Literal["all", "attention", "mlp", "q_v"] | list[str] = knob(
        "all",
        "LoRA 作用模块",
        "旁路加在哪些线性层上；也可以在 YAML 里写一个列表",
        names={"all": "全部线性层", "attention": "注意力", "mlp": "前馈", "q_v": "只有 q 和 v"},
    )
    lora_rank: int = knob(8, "LoRA 秩", "小矩阵的宽度 r；越大能学的越多，也越占内存", step=1, ge=1, le=256)
    lora_dropout: float = knob(
        0.01, "LoRA 随机丢弃", "训练时随机丢掉旁路输入的比例，用来防过拟合", step=0.01, ge=0, lt=1
    )
    lora_alpha: float = knob(16, "LoRA 缩放系数", "旁路的输出乘以 alpha / r", step=1, gt=0, le=1024)
    seed: int = knob(42, "随机种子", "同样的种子、数据和设置得到同样的结果", "进阶", step=1, ge=0, le=2**31 - 1)
    batch_size: int = knob(8, "批大小", "每一步一起算几条；内存不够就调小", "进阶", step=1, ge=1, le=1024)
    layers: int | None = knob(None, "作用层数", "只训练最上面的几层；空着就是全部", "进阶", step=1, ge=1)
    turbo: bool = knob(
        False,
        "极速模式",
        "只训练最上面的几层（「作用层数」，空着就是三分之一），下面的层每条数据只算一次、存起来，几遍训练共用；要占一些内存",
    )
    train_embeddings: bool = knob(
        False, "训练词嵌入", "全参微调时是否也训练词嵌入；它占小模型的大半，训练它要多用数倍内存", "进阶"
    )
    learn_history: bool = knob(True, "学习历史回答", "history 里的回答是否也算进损失，与平台一致", "进阶")
    warmup: float = knob(
        0.05, "预热比例", "学习率从零升到设定值所用步数的比例，之后按余弦降到零", "进阶", step=0.01, ge=0, lt=1
    )
    evaluations: int = knob(
        4, "验证次数", "整个训练中算几次验证损失并存检查点，最好的一次留下", "进阶", step=1, ge=1, le=100
    )
    best_by: Literal["loss", "metric"] = knob(
        "loss",
        "按什么选最好",
        "验证损失最低的一次，或者验证集上准确率最高的一次（要是标签任务）",
        "进阶",
        names={"loss": "验证损失", "metric": "验证准确率"},
    )
    patience: int | None = knob(
        None, "提前停止", "连续几次验证没有更好就停下；空着就是不提前停", "进阶", step=1, ge=1, le=100
    )
    validation_rows: int = knob(
        160, "验证行数", "每次验证最多用多少条，从验证集里随机抽，种子固定", "进阶", step=10, ge=1
    )

    @model_validator(mode="after")
    def _agree(self):
        if self.method == "lora" and self.train_embeddings:
            raise ValueError("「训练词嵌入」只能和全参微调一起用。请把微调方法改为 full，或者关掉它")
        if isinstance(self.lora_modules, list) and not self.lora_modules:
            raise ValueError("「LoRA 作用模块」是空的。请至少选一个")
        if self.turbo and self.method != "lora":
            raise ValueError("「极速模式」只能和 LoRA 一起用。请把微调方法改为 lora，或者关掉极速模式")
        if self.patience and self.patience >= self.evaluations:
            raise ValueError(
                f"「提前停止」是 {self.patience}，而整个训练只验证 {self.evaluations} 次，永远不会提前停。"
                "请调大「验证次数」，或者空着「提前停止」"
            )
        if self.batch_size * self.max_length > MOST_TOKENS:
            raise ValueError(
                f"「批大小」乘「最大长度」是 {self.batch_size * self.max_length} 个 token，一步放不下。"
                f"请把批大小调到 {max(1, MOST_TOKENS // self.max_length)} 以下，或者调小最大长度"
            )
        return self

    @property
    def lora_targets(self) -> list[str]:
        """The names of the linear layers that get an adapter."""
        return MODULES[self.lora_modules] if isinstance(self.lora_modules, str) else self.lora_modules

    @property
    def changed(self) -> dict[str, Any]:
        """The settings that are not the defaults, by their Chinese titles."""
        fields = type(self).model_fields
        return {fields[name].title: value for name, value in self if value != fields[name].default}

    @classmethod
    def read(cls, path: str | Path) -> "TrainingConfig":
        """The settings in a YAML file. Raises `ConfigError`."""
        return build_config(read_yaml(path), cls)


def read_yaml(path: str | Path) -> dict:
    """The mapping in a YAML file. Raises `ConfigError` naming the file and the line."""
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"找不到配置文件 {path}。请检查路径。") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"第 {mark.line + 1} 行" if mark else "开头"
        raise ConfigError(f"{path} 不是正确的 YAML（{where}附近）。请检查缩进和冒号后的空格。") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} 里应该是「名字: 值」的形式，每行一个设置。")
    return values


def build_config(values: dict, model: type[BaseModel] = TrainingConfig):
    """`model(**values)`, with every problem in Chinese: setting, value, allowed range. Raises `ConfigError`."""
    try:
        return model(**values)
    except ValidationError as error:
        raise ConfigError(
            "；".join(dict.fromkeys(_explain(problem, model) for problem in error.errors())) + "。"
        ) from None


def _explain(problem: dict, model: type[BaseModel]) -> str:
    if not problem["loc"]:
        return problem["msg"].removeprefix("Value error, ")
    name = str(problem["loc"][0])
    field = model.model_fields.get(name)
    if field is None:
        return f"没有叫「{name}」的设置，可以用的有：{'、'.join(model.model_fields)}"
    limits = problem.get("ctx", {})
    reason = {
        "greater_than": "要大于 {gt}",
        "greater_than_equal": "不能小于 {ge}",
        "less_than": "要小于 {lt}",
        "less_than_equal": "不能大于 {le}",
        "literal_error": "只能是 {expected}",
        "string_pattern_mismatch": "里面有不能用的字符",
    }.get(problem["type"], "类型不对")
    return f"「{field.title or name}」（{name}）是 {problem['input']!r}，{reason.format(**limits)}"
