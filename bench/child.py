"""`python bench/child.py COMMAND…`: run a command and report what it used.

The last line of stderr is the report, as JSON. A small process is needed in between, because Linux
counts the memory of the process that forked a command as the command's own.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

if __name__ == "__main__":
    started = time.perf_counter()
    code = subprocess.call(sys.argv[1:])
    wall = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    print(
        "\n" + json.dumps({"wall": wall, "cpu": used.ru_utime + used.ru_stime, "peak_mib": peak}),
        file=sys.stderr,
    )
    sys.exit(code)
