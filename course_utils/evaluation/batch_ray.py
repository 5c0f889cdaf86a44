"""The same batch over Ray Data, on the processes or machines of a Ray cluster: `pip install -e .[ray]`.

Every worker needs the course and its packages, and the runs and models under the same paths (a shared folder).
The cluster is that of `$RAY_ADDRESS`, else a local one is started.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial

from course_utils.data.records import Record
from course_utils.errors import ConfigError
from course_utils.evaluation.models import Progress, Source, Stream, Task, each_model, find_source

BLOCK = 64  # rows that a worker answers at a time
CORES = 4  # per worker without a GPU: a small model gains little from more


def ray_streams(sources: Sequence[Source], task: Task) -> Iterator[tuple[Source, Stream]]:
    """As `each_model`, but the rows are shared out among workers, and come back in order. Raises `ConfigError`."""
    try:
        import ray
    except ImportError:
        raise ConfigError("没有安装 Ray。请运行：pip install -e .[ray]，或者去掉 --engine ray。") from None
    if not ray.is_initialized():
        # The workers see what this process sees: its workspace, its cache, its endpoint.
        shared = {name: value for name, value in os.environ.items() if name.startswith("COURSE_")}
        ray.init(runtime_env={"env_vars": shared}, log_to_driver=False, include_dashboard=False)
    for source in sources:
        yield source, partial(_stream, source, task)


class Worker:
    """Lives in a process of its own: opens the model once, then answers blocks of rows."""

    def __init__(self, name: str, task: dict):
        self.models = each_model([find_source(name)], Task(**task))
        self.answer = next(self.models)[1]

    def __call__(self, block: dict) -> dict:
        records = [Record(**json.loads(row)) for row in block["record"]]
        found = self.answer(records, lambda done: None)
        return {"answer": [json.dumps(row, ensure_ascii=False) for row in found]}


def _stream(source: Source, task: Task, records: Sequence[Record], progress: Progress) -> Iterator[list[dict]]:
    import ray

    ray.data.DataContext.get_current().execution_options.preserve_order = True
    ray.data.DataContext.get_current().enable_progress_bars = False
    gpus = int(ray.cluster_resources().get("GPU", 0))
    workers = gpus or max(2, int(ray.cluster_resources().get("CPU", 1)) // CORES)
    items = [{"record": json.dumps(asdict(record), ensure_ascii=False)} for record in records]
    answers = ray.data.from_items(items, override_num_blocks=-(-len(items) // BLOCK)).map_batches(
        Worker,
        fn_constructor_args=(source.name, asdict(task)),
        batch_size=BLOCK,
        compute=ray.data.ActorPoolStrategy(size=min(workers, -(-len(items) // BLOCK))),
        num_gpus=1 if gpus else 0,
        num_cpus=1,
    )
    done = 0
    for batch in answers.iter_batches(batch_size=BLOCK, prefetch_batches=0):
        found = [json.loads(row) for row in batch["answer"]]
        yield found
        done += len(found)
        progress(done)
