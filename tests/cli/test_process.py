"""What the daemon asks of its system."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest
from tests.cli.processes import DEADLINE, environment

LINUX_WITH_GLIBC = sys.platform.startswith("linux")


def report(code: str, **env: str) -> str:
    """Run code in a process of its own, as what it does cannot be undone."""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, env=environment(**env))
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_the_soft_limit_on_descriptors_becomes_the_hard_one():
    code = """
import resource
from xmlsocket.net.process import tune_process
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
tuning = tune_process()
soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
print(soft == hard, tuning.descriptors == soft)
"""
    assert report(code) == "True True"


@pytest.mark.skipif(not LINUX_WITH_GLIBC, reason="mallopt is glibc's")
def test_large_blocks_are_reused_rather_than_mapped_anew():
    code = """
import ctypes
from xmlsocket.net.process import tune_process
has_settings = tune_process().has_heap_settings
libc = ctypes.CDLL(None)
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd a b c d e".split()]
libc.mallinfo2.restype = Info
before = libc.mallinfo2().hblks
blocks = [bytes(4 << 20) for _ in range(4)]
print(has_settings, libc.mallinfo2().hblks - before)
"""
    if not hasattr(ctypes.CDLL(None), "mallinfo2"):
        pytest.skip("no glibc of 2021 or later")
    assert report(code) == "True 0", "no block is mapped by itself"


def test_what_the_environment_says_of_the_heap_is_left_alone():
    code = "from xmlsocket.net.process import tune_process; print(tune_process().has_heap_settings)"
    own = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072", "MALLOC_TOP_PAD_": "0"}
    assert report(code, **own) == "False"


def test_settling_takes_what_lives_out_of_the_collectors_sight():
    code = """
import gc
from xmlsocket.net.process import settle_process
settle_process()
print(gc.get_freeze_count() > 1000)
"""
    assert report(code) == "True"
