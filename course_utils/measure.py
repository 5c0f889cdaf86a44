"""Measuring what a stretch of work costs."""

import threading
import time

import psutil


class PeakMemory:
    """`with PeakMemory() as peak: ...` then `peak.mb` and `peak.seconds`.

    mb: the largest resident memory of this process in MiB, seen at samples 20 ms apart; on a GPU, the largest that
    torch had allocated there.
    """

    def __enter__(self):
        self.mb, self.seconds = 0, 0.0
        self._process, self._done, self._start = psutil.Process(), threading.Event(), time.perf_counter()
        self._reset_gpu()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()
        self.seconds = time.perf_counter() - self._start
        self.mb = self._gpu_peak() or self.mb

    def _watch(self):
        while True:
            self.mb = max(self.mb, self._process.memory_info().rss >> 20)
            if self._done.wait(0.02):
                return

    @staticmethod
    def _cuda():
        import sys

        torch = sys.modules.get("torch")  # nobody who has not imported torch has used a GPU
        return torch.cuda if torch and torch.cuda.is_available() else None

    def _reset_gpu(self):
        if cuda := self._cuda():
            cuda.reset_peak_memory_stats()

    def _gpu_peak(self) -> int:
        cuda = self._cuda()
        return cuda.max_memory_allocated() >> 20 if cuda else 0
