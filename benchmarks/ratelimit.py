"""What counting by address costs: run by hand, `python ratelimit.py [SOURCES]`.

SOURCES (a million by default) come once each within the span of one group, then as many again in
an empty table that holds a tenth of them. Printed are the memory of this process that this took,
the time for each, and how many of a thousand strangers then wait though they never came before.
Exit code 1 where all six groups could take more than 16 MB, or one source takes over 20 µs.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from picoauth_ratelimit.settings import GROUPS, Rate
from picoauth_ratelimit.sketch import Sketch

SOURCES = 1_000_000
RATE = Rate(60, 60)
BOUND, SLOWEST = 16_000_000, 20e-6


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def measure(sources: int) -> tuple[int, float, int]:
    """Bytes, seconds for each source, and strangers of a thousand who wait."""
    sketch = Sketch(RATE, lambda: 0.0)
    before, began = resident(), time.perf_counter()
    for n in range(sources):
        sketch.take(n.to_bytes(8, "big"))
    took = time.perf_counter() - began
    grown = resident() - before
    waiting = sum(
        any(sketch.take(b"stranger %d" % n) for _ in range(RATE.count // 2)) for n in range(1000)
    )
    return grown, took / sources, waiting


def main() -> int:
    most = int(sys.argv[1]) if len(sys.argv) > 1 else SOURCES
    failed = False
    for sources in (most // 100, most // 10, most):
        grown, each, waiting = measure(sources)
        print(
            f"{sources:>9,} sources: {grown / 1e6:.1f} MB, {each * 1e6:.1f} µs each; "
            f"{waiting} of 1,000 strangers cannot come 30 times in a minute"
        )
        failed = failed or each > SLOWEST or grown * len(GROUPS) > BOUND
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
