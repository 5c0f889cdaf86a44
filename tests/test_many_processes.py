"""The same command under `accelerate launch`: two processes learn what one learns."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from course_utils.paths import ROOT
from course_utils.training.config import TrainingConfig
from course_utils.training.run import Run

SHAPES = ROOT / "docs" / "scale"


def trained(run, processes):
    """Train in `processes` processes and return the run; the environment is that of the test."""
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--cpu",
        "--num_machines",
        "1",
        "--mixed_precision",
        "no",
    ]
    launch += ["--num_processes", str(processes), "--num_cpu_threads_per_process", "1", "--main_process_port", "0"]
    command = [*launch, "-m", "course_utils.cli", "train", "--resume", str(run.folder)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return run


def losses(run, key):
    return [line[key] for line in run.metrics if key in line]


@pytest.mark.parametrize("task", ["generation", "classification"])
def test_two_processes_have_the_loss_curve_of_one(tiny_base, tiny_data, task):
    config = TrainingConfig(
        base_model=str(tiny_base), precision="fp32", task=task, epochs=3, batch_size=8, learning_rate=5e-3,
        lora_dropout=0, evaluations=3,
    )  # fmt: skip
    one, two = (trained(Run.create(config, tiny_data, f"n{n}"), n) for n in (1, 2))
    assert losses(two, "loss") == pytest.approx(losses(one, "loss"), rel=2e-3)
    assert losses(two, "eval_loss") == pytest.approx(losses(one, "eval_loss"), rel=5e-3)
    assert len(losses(one, "loss")) == 12 and two.finished and two.facts["steps"] == 12


def test_a_batch_that_cannot_be_shared_out_is_refused(tiny_base, tiny_data, monkeypatch):
    from course_utils.errors import ConfigError
    from course_utils.training.train import train

    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ConfigError, match="不能平分给 3 个进程"):
        train(
            TrainingConfig(base_model=str(tiny_base), precision="fp32", batch_size=8), tiny_data, log=lambda text: None
        )


@pytest.mark.parametrize("file", ["fsdp.yaml", "deepspeed.yaml"])
def test_the_files_for_several_gpus_are_what_accelerate_takes(file):
    from accelerate.commands.config.config_args import ClusterConfig

    values = yaml.safe_load((SHAPES / file).read_text(encoding="utf-8"))
    found = ClusterConfig(**values)  # raises for a key that it does not know
    assert found.num_processes >= 2 and found.mixed_precision == "bf16"
    if file == "fsdp.yaml":
        from accelerate import FullyShardedDataParallelPlugin

        options = {key.removeprefix("fsdp_"): value for key, value in found.fsdp_config.items()}
        plugin = FullyShardedDataParallelPlugin(
            fsdp_version=options["version"], auto_wrap_policy=options["auto_wrap_policy"],
            transformer_cls_names_to_wrap=options["transformer_layer_cls_to_wrap"].split(","),
            state_dict_type=options["state_dict_type"],
        )  # fmt: skip
        assert "Qwen3DecoderLayer" in plugin.transformer_cls_names_to_wrap
    else:
        shape = json.loads((SHAPES / found.deepspeed_config["deepspeed_config_file"].split("/")[-1]).read_text())
        assert shape["zero_optimization"]["stage"] == 2 and shape["bf16"]["enabled"] == "auto"
