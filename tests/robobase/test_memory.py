import resource
import sys

import pytest
import torch

from robobase.memory import keep_freed_memory


def page_faults(fill):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        fill()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_large_blocks_are_reused_without_page_faults():
    if not keep_freed_memory():
        pytest.skip("no glibc")

    def fill():
        torch.ones(10_000_000)

    page_faults(fill)  # until freed blocks have merged into ones that the next fits in
    assert page_faults(fill) < 100_000  # 20 x 40 MB are 195,000 pages
