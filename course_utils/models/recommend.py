"""Which base model for which task, and what this machine can really train."""

import os
from dataclasses import dataclass
from typing import Literal, get_args

import pandas as pd
import psutil

from course_utils.errors import ConfigError
from course_utils.models.catalogue import BaseModelCard, Tier, catalogue
from course_utils.models.weights import is_ready, place

Task = Literal["简单生成", "对话", "情感分析", "知识问答", "复杂任务"]
Difficulty = Literal["容易", "一般", "要求高"]
TIERS = get_args(Tier)
# After 讯飞星辰MaaS's handbook: simple generation and dialogue go with a light model, knowledge questions and sentiment
# with a middle one, hard or exacting tasks with a large one.
WANTED = {"简单生成": 0, "对话": 0, "情感分析": 1, "知识问答": 1, "复杂任务": 2}
PROGRAM_MB = 800  # Python, torch and what they load
BYTES_PER_WIDTH = 18  # kept for the backward pass per token, layer and unit of width; measured on the embedded model
BUDGET = 0.85  # of a machine's memory: the rest is for the system and the browser


@dataclass(frozen=True)
class Hardware:
    """memory_mb: of the GPU when there is one, else of the machine."""

    memory_mb: int
    cores: int
    gpu: str = ""


@dataclass(frozen=True)
class Recommendation:
    """model: the card to take. wanted: the tier that the task asks for. table: all models, see `compare`."""

    model: BaseModelCard
    wanted: Tier
    reason: str
    table: pd.DataFrame


def this_machine() -> Hardware:
    """What models run on here."""
    import torch

    memory, cores = psutil.virtual_memory().total >> 20, psutil.cpu_count(logical=False) or os.cpu_count() or 1
    if torch.cuda.is_available():
        found = torch.cuda.get_device_properties(0)
        return Hardware(found.total_memory >> 20, cores, found.name)
    return Hardware(memory, cores, "Apple 芯片" if torch.backends.mps.is_available() else "")


def recommend(task: Task, difficulty: Difficulty = "一般", hardware: Hardware | None = None) -> Recommendation:
    """The model of the tier that the task asks for, or the largest below it that this machine can train with LoRA."""
    if task not in WANTED or difficulty not in get_args(Difficulty):
        raise ConfigError(
            f"没有「{task}、{difficulty}」这样的任务。任务：{'、'.join(WANTED)}；难度：{'、'.join(get_args(Difficulty))}。"
        )
    hardware = hardware or this_machine()
    tier = WANTED[task] + (difficulty == "要求高") - (difficulty == "容易")
    wanted = TIERS[min(max(tier, 0), len(TIERS) - 1)]
    able = [card for card in catalogue().values() if trainable(card, hardware)]
    if not able:
        raise ConfigError("这台机器的内存连最小的模型也训练不了。请关掉别的程序，或者换一台内存大一些的机器。")
    upto = [card for card in able if TIERS.index(card.tier) <= TIERS.index(wanted)]
    best = max(upto or able, key=lambda card: (TIERS.index(card.tier), card.parameters))
    where = hardware.gpu or f"{hardware.cores} 个 CPU 核心"
    reason = f"{task}（{difficulty}）一般用{wanted}的模型。这台机器（{where}，{hardware.memory_mb / 1024:.0f} GB）"
    if best.tier == wanted:
        reason += f"训练得了 {best.title}。"
    else:
        reason += f"训练不了{wanted}的，最大能训练{best.tier}的 {best.title}。"
    local = next((card for card in able if on_disk(card) or has_wheel(card)), None)
    if local and local is not best and not on_disk(best):
        reason += f"它要先从网上下载；不想下载，就用 {local.title}。"
    if not hardware.gpu and best.parameters > 600e6:
        reason += "没有 GPU，训练会很慢，先用「估算」看看要多久。"
    return Recommendation(best, wanted, reason, compare(hardware))


def compare(hardware: Hardware) -> pd.DataFrame:
    """A row per model: tier, size, context, licence, where it is, and whether this machine can train it."""
    lines = []
    for card in catalogue().values():
        measured = card.training_peak_mb and not hardware.gpu
        need = card.training_peak_mb if measured else needed_mb(card)
        lines.append(
            {
                "模型": card.title,
                "档位": card.tier,
                "参数": f"{card.parameters / 1e9:.2f} B",
                "上下文": f"{card.context // 1024}K",
                "擅长": card.good_for,
                "权重": "已就绪" if on_disk(card) else "随课程安装" if has_wheel(card) else "要下载",
                "LoRA 内存": f"{need / 1024:.1f} GB（{'实测' if measured else '估计'}）",
                "实测速度": f"{card.training_tokens_per_second} token/秒（2 核）"
                if card.training_tokens_per_second
                else "未测",
                "这台机器": "能训练" if trainable(card, hardware) else "内存不够",
                "许可": card.licence,
            }
        )
    return pd.DataFrame(lines)


def needed_mb(card: BaseModelCard, batch_size: int = 8, max_length: int = 256) -> int:
    """Memory of a LoRA fine-tune in bf16, estimated: the program, the weights, and what a full batch keeps."""
    kept = batch_size * max_length * card.layers * BYTES_PER_WIDTH * (card.hidden + card.intermediate)
    return PROGRAM_MB + (2 * card.parameters + kept >> 20)


def trainable(card: BaseModelCard, hardware: Hardware) -> bool:
    """Whether a LoRA fine-tune at the default batch fits."""
    return needed_mb(card) <= BUDGET * hardware.memory_mb


def on_disk(card: BaseModelCard) -> bool:
    return is_ready(place(card.name))


def has_wheel(card: BaseModelCard) -> bool:
    return any(source.kind == "wheel" for source in card.sources)
