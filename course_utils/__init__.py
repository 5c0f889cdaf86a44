"""大模型精调实战课: what the notebooks call. Start with `course_utils.demo` to see one whole fine-tune."""

import os

from course_utils import paths

__version__ = "0.1.0"

# Metric modules are copied before they are run; keep the copies in our cache, not in the learner's home.
os.environ.setdefault("HF_MODULES_CACHE", str(paths.cache() / "hf_modules"))
# Fast tokenizers warn at every fork otherwise; we fork nothing while they run.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
