"""大模型精调实战课: what the notebooks call. Start with `course_utils.demo` to see one whole fine-tune."""

import os

from course_utils import paths

__version__ = "0.1.0"

# Metric modules are copied before they are run; keep the copies in our cache.
os.environ.setdefault("HF_MODULES_CACHE", str(paths.own_cache() / "hf_modules"))
# Fast tokenizers warn at every fork otherwise; we fork nothing while they run.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# How long a thread spins while it waits for the others, before it sleeps (in loops of libgomp, whose default is
# 300,000). With two cores and one other busy program, the thread that has the work waits for the core that the other
# one is burning: a training step took four times as long, and more beside several. At 4,000 it does not, and an idle
# machine loses nothing; sleeping at once (OMP_WAIT_POLICY=PASSIVE) would cost it a third. Measured by
# benchmarks/step.py. Must stand before torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "4000")
