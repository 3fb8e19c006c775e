"""Shows that a burst of logins gives its memory back: run by hand, `python hashing_memory.py`.

Resident memory of a fresh process before, at the peak of and after 200 verifications at once
with the default cost. Exit code 1 if more than 25 MB stay. Linux only: it reads /proc.
The first argument is a number of threads in place of one per core, to see what many would do;
without the allocator's setting, glibc keeps 20 MB for each.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from pathlib import Path

from picoauth_password.hashing import Cost, Hasher, usable_cores

BURST = 200
MOST_LEFT = 25.0


def resident(name: str) -> float:
    """Megabytes from /proc: VmRSS now, or VmHWM at its peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(name)


async def burst(workers: int) -> float:
    """Verifications a second; the first hash is part of the burst's memory, not of its time."""
    hasher = Hasher({"a": secrets.token_bytes(32)}, Cost(), workers=workers, queue=BURST)
    stored = await hasher.hash("correct horse")
    begun = time.perf_counter()
    await asyncio.gather(*(hasher.verify(stored, "correct horse") for _ in range(BURST)))
    return BURST / (time.perf_counter() - begun)


def main() -> int:
    workers = int(sys.argv[1]) if len(sys.argv) > 1 else usable_cores()
    before = resident("VmRSS")
    rate = asyncio.run(burst(workers))
    after, peak = resident("VmRSS"), resident("VmHWM")
    print(f"{BURST} verifications at once, {workers} threads, {rate:.0f} a second")
    for when, megabytes in (("before", before), ("peak", peak), ("after", after)):
        print(f"{when:>8}  {megabytes:7.1f} MB")
    print(f"{'left':>8}  {after - before:7.1f} MB, of at most {MOST_LEFT} MB")
    return int(after - before > MOST_LEFT)


if __name__ == "__main__":
    sys.exit(main())
