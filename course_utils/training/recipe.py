"""A YAML file that says everything of a fine-tune: which data, how mapped and split, and every setting."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from course_utils.data import presets, store
from course_utils.data.formats import read_rows
from course_utils.data.records import Record, to_records
from course_utils.data.split import PARTS, split
from course_utils.errors import ConfigError
from course_utils.training.config import TrainingConfig, build_config, read_yaml


class DataRecipe(BaseModel, extra="forbid"):
    """Which rows to train on. Every other key of the file is a setting of `TrainingConfig`.

    name: the run's folder. data: a preset, a data set of the workspace (also with its version, 我的评论/v2), a file,
    or one file each for train, validation and test. map: column -> field. constants: field -> text for every row.
    shares: of train, validation, test. split: harder is a preset's second split, see `presets.parts`. rows: bound on
    training rows.
    """

    name: str = Field("run", pattern=r"^[^/\\]+$")
    data: str | dict[str, str]
    map: dict[str, str] = {}
    constants: dict[str, str] = {}
    shares: tuple[float, float, float] = (0.70, 0.15, 0.15)
    stratify: bool | None = None
    split: Literal["random", "harder"] = "random"
    rows: int | None = Field(None, ge=1)


def read_recipe(path: str | Path) -> tuple[TrainingConfig, dict[str, list[Record]], str]:
    """`(config, data, name)` of the YAML file at `path`; files in it are relative to its folder.

    Raises `ConfigError` or `DataError`.
    """
    return parse_recipe(read_yaml(path), Path(path).parent)


def parse_recipe(values: dict, folder: Path = Path()) -> tuple[TrainingConfig, dict[str, list[Record]], str]:
    """`(config, data, name)` of a recipe's keys and values; files are relative to `folder`. Raises `CourseError`."""
    values = dict(values)
    if "data" not in values:
        raise ConfigError("没有说用什么数据。请加一行，例如 data: sentiment_predict，或 data: 我的数据.jsonl。")
    names = [*DataRecipe.model_fields, *TrainingConfig.model_fields]
    unknown = [key for key in values if key not in names]
    if unknown:
        raise ConfigError(f"没有叫「{unknown[0]}」的设置，可以用的有：{'、'.join(names)}。")
    recipe = build_config({key: values.pop(key) for key in DataRecipe.model_fields if key in values}, DataRecipe)
    config = build_config(values)
    data = load_data(recipe, folder, config.seed)
    data["train"] = data["train"][: recipe.rows]
    return config, data, recipe.name


def _own_data(dataset: store.DataSet, recipe: DataRecipe, seed: int) -> dict[str, list[Record]]:
    """The learner's data set as it was split, or split now."""
    parts = dataset.rows()
    if "train" in parts:
        return {part: to_records(rows) for part, rows in parts.items()}
    rows = [row for lines in parts.values() for row in lines]
    groups = [row.get("source_row") for row in rows]
    return split(to_records(rows), recipe.shares, seed, recipe.stratify, groups)


def load_data(recipe: DataRecipe, folder: Path, seed: int) -> dict[str, list[Record]]:
    """The rows of each part; cut from one set when the recipe names one."""

    def load(file: str) -> list[Record]:
        return to_records(read_rows(folder / file), recipe.map, recipe.constants)

    if isinstance(recipe.data, dict):
        if not {"train", "validation"} <= recipe.data.keys() <= set(PARTS):
            raise ConfigError("data 分文件写的时候，要有 train 和 validation，可以再有 test。")
        return {part: load(file) for part, file in recipe.data.items()}
    if recipe.data in presets.catalogue():
        if recipe.split == "harder":
            return presets.parts(recipe.data, harder=True, seed=seed)
        return split(presets.load(recipe.data), recipe.shares, seed)
    name, _, version = recipe.data.partition("/v")
    if name in store.names():
        return _own_data(store.DataSet.open(name, int(version) if version.isdigit() else None), recipe, seed)
    if not (folder / recipe.data).is_file():
        raise ConfigError(
            f"「data」是 {recipe.data}，既不是预置数据集（{'、'.join(presets.catalogue())}），也不是工作区里的数据集，"
            "也找不到这个文件。"
        )
    return split(load(recipe.data), recipe.shares, seed, recipe.stratify)
