"""The process that detects anomalies: numpy lives here and not in the server.

    python -m costmeter.analysis.anomaly.worker < request.json > reply.json

One request (`wire.write_request`) on standard input, one reply (`wire.read_reply`) on standard
output. Exit code 0; 2 with one line on standard error for a request that cannot be read.
"""

from __future__ import annotations

import os
import sys

#: Medians of many short rows do not gain from BLAS threads, and the server needs the cores.
_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> int:
    for name in _ONE_THREAD:
        os.environ.setdefault(name, "1")
    from costmeter.analysis.anomaly.detect import detect_many
    from costmeter.analysis.anomaly.wire import read_request, write_reply

    try:
        series, now_ms, settings, acknowledged, states = read_request(sys.stdin.buffer.read())
        found = detect_many(series, now_ms, settings, acknowledged, states)
    except (ValueError, KeyError, TypeError) as error:
        reason = f"no {error} in it" if isinstance(error, KeyError) else str(error)
        print(f"the request for anomalies cannot be used: {reason}", file=sys.stderr)
        return 2
    sys.stdout.buffer.write(write_reply(found))
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
