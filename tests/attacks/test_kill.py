from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import edgesafe.runtime

WRITER = """
import sys
from edgesafe.runtime.files import atomic_write
count = 0
while True:
    count += 1
    atomic_write(sys.argv[1], bytes([count % 251]) * 400_000)
"""


def test_a_killed_writer_leaves_a_whole_file(tmp_path: Path) -> None:
    """kill -9 at random moments: a plain ``open(..., 'wb')`` is torn in about one of five."""
    target = tmp_path / "state.bin"
    rng = random.Random(3)
    root = Path(edgesafe.runtime.__file__).parents[2]
    sizes, written = set(), set()
    for _ in range(15):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(target)],
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        deadline = time.monotonic() + 20
        while not target.exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(rng.uniform(0.05, 0.15))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        data = target.read_bytes()
        sizes.add(len(data))
        written.add(data[0])
        assert len(set(data)) == 1
    assert sizes == {400_000}
    assert len(written) > 1
