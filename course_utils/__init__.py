"""大模型精调实战课: what the notebooks call. Start with `course_utils.demo` to see one whole fine-tune."""

import os

from course_utils import paths

__version__ = "0.1.0"

# Metric modules are copied before they are run; keep the copies in our cache, not in the learner's home.
os.environ.setdefault("HF_MODULES_CACHE", str(paths.cache() / "hf_modules"))
# Fast tokenizers warn at every fork otherwise; we fork nothing while they run.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Threads that wait for work sleep rather than spin. Spinning is a little faster on an idle machine; but with two cores
# and one other busy program, the thread that has the work waits for the core that the other one is burning, and a
# training step took 30 times as long. Must stand before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
