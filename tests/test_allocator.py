import subprocess
import sys

import pytest

ROUNDS = """
import resource
from contextlib import nullcontext
from course_utils.allocator import kept_heap

def faults(block):
    with block:
        for _ in range(40):  # 16 blocks of 8 MB, freed together: what a backward pass does
            [bytearray(8 << 20) for _ in range(16)]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            [bytearray(8 << 20) for _ in range(16)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults(nullcontext()), faults(kept_heap()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries are left as they are")
def test_freed_memory_stays_while_the_block_lasts():
    shown = subprocess.run([sys.executable, "-c", ROUNDS], capture_output=True, text=True, check=True).stdout
    usual, kept = map(int, shown.split())
    assert kept < usual / 10, shown
