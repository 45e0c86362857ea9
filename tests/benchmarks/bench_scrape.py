"""What a scrape costs: this exporter, prometheus_client and a real Prometheus on one page.

    python tests/benchmarks/bench_scrape.py [--series 100000] [--rounds 7] [--no-prometheus]
                                            [--peers counter collector]

Each server is a process of its own and serves the same series over HTTP with gzip. Before each
timed scrape it changes its values: all of them, or one in a hundred (side by side, or spread
evenly over the page). Every figure is a median and is printed with its peer of the same run.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

HERE = Path(__file__).parent
CHANGES = {
    "all": "all values changed",
    "near": "1 % changed, side by side",
    "far": "1 % changed, spread evenly",
    "none": "nothing changed",
}
PEERS = {
    "counter": "prometheus_client start_http_server, Counter.labels(...).inc()",
    "collector": "prometheus_client start_http_server, custom Collector",
}
TARGET_FASTER, TARGET_RSS_MB, TARGET_INGESTION_SHARE = 20, 110, 0.30


class Server(AbstractContextManager["Server"]):
    """One server in a process of its own, told over stdin which values to change."""

    def __init__(self, kind: str, series: int) -> None:
        self.kind = kind
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "scrape_server.py"), kind, str(series)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self.tell())

    def tell(self, word: str = "") -> str:
        """Send one word (none at the start) and return the line that answers it."""
        assert self._process.stdin
        assert self._process.stdout
        if word:
            print(word, file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the {self.kind} server ended: see its error above")
        return line.strip()

    def memory_mb(self, field: str) -> float:
        """A field of /proc/PID/status in MB (2**20 bytes), as `VmRSS` or `VmHWM`."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith(field))
        return int(line.split()[1]) / 1024

    def scrape(self) -> tuple[float, bytes]:
        """Seconds from the request to the last byte of the gzipped body, and the body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        started = time.perf_counter()
        headers = {"Accept": "text/plain;version=0.0.4", "Accept-Encoding": "gzip"}
        connection.request("GET", "/metrics", headers=headers)
        response = connection.getresponse()
        body = response.read()
        seconds = time.perf_counter() - started
        connection.close()
        assert (response.status, response.headers["Content-Encoding"]) == (200, "gzip")
        return seconds, body

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()


def measure(server: Server, change: str, rounds: int) -> float:
    """The median seconds of a scrape after each such change."""
    seconds = []
    for _ in range(rounds):
        server.tell(change)
        seconds.append(server.scrape()[0])
    return statistics.median(seconds)


def samples(body: bytes) -> dict[frozenset[str], float]:
    """Values by label pairs of a gzipped page; the label values here need no unescaping."""
    lines = gzip.decompress(body).decode().splitlines()
    split = (line.rpartition("} ") for line in lines if line.startswith("llm_cost_total{"))
    return {
        frozenset(labels.partition("{")[2].split(",")): float(value) for labels, _, value in split
    }


def prometheus_seconds(server: Server, scrapes: int = 5) -> tuple[float, float]:
    """Medians over a real Prometheus' scrapes: scrape_duration_seconds, samples per scrape.

    The duration runs from the request to the end of the append to its head block, so it holds
    the server's own time too.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "prometheus.yml")
        target = f"static_configs: [{{targets: ['127.0.0.1:{server.port}']}}]"
        config.write_text(
            f"global: {{scrape_interval: 5s}}\nscrape_configs:\n- job_name: bench\n  {target}\n"
        )
        port = server.port + 1
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=error",
            ],
        )
        try:
            deadline = time.monotonic() + 5 * (scrapes + 6)
            while time.monotonic() < deadline:
                server.tell("all")
                time.sleep(2)
            durations = _range(port, "scrape_duration_seconds")
            taken_in = _range(port, "scrape_samples_scraped")
        finally:
            process.terminate()
            process.wait()
    # The first two scrapes create the series, which a running Prometheus has behind it.
    return statistics.median(durations[2:]), statistics.median(taken_in[2:])


def _range(port: int, metric: str) -> list[float]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", f"/api/v1/query?query={metric}%5B10m%5D")
    answer = json.load(connection.getresponse())
    connection.close()
    return [float(value) for _, value in answer["data"]["result"][0]["values"]]


def verdict(held: bool) -> str:
    return "held" if held else "MISSED"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7, help="scrapes per median, 5 or more")
    parser.add_argument("--no-prometheus", action="store_true", help="skip the real Prometheus")
    parser.add_argument(
        "--peers", nargs="*", choices=PEERS, default=list(PEERS), help="which to compare with"
    )
    options = parser.parse_args()
    print(f"$ python tests/benchmarks/bench_scrape.py {' '.join(sys.argv[1:])}".rstrip())
    with Server("ours", options.series) as ours:
        first, page = ours.scrape()
        print(f"\nscrape of {options.series:,} series over HTTP with gzip, ms")
        print(f"  ours, first page (builds every label)          {first * 1e3:9.1f}")
        seconds = {}
        for change, words in CHANGES.items():
            seconds[change] = measure(ours, change, options.rounds)
            print(f"  ours, {words:40} {seconds[change] * 1e3:9.1f}")
        rss = ours.memory_mb("VmRSS")
        print(f"  ours, VmRSS {rss:.0f} MB, VmHWM {ours.memory_mb('VmHWM'):.0f} MB")
        print(f"  ours, longest wait of the event loop meanwhile {float(ours.tell('stall')):9.1f}")
        if options.series == 100_000:
            print(f"  under {TARGET_RSS_MB} MB: {verdict(rss < TARGET_RSS_MB)}")
        if not options.no_prometheus:
            duration, taken_in = prometheus_seconds(ours)
            took = duration - seconds["all"]
            share = seconds["all"] / took
            print(
                f"\nprometheus scrapes ours every 5 s, all values changed, {taken_in:,.0f} samples"
                f"\n  scrape_duration_seconds {duration * 1e3:.1f} ms, of which ours"
                f" {seconds['all'] * 1e3:.1f} ms and taking it in {took * 1e3:.1f} ms"
                f"\n  ours / taking in = {share:.0%}, target under {TARGET_INGESTION_SHARE:.0%}: "
                + verdict(share < TARGET_INGESTION_SHARE)
            )
    for kind in options.peers:
        words = PEERS[kind]
        with Server(kind, options.series) as peer:
            _, theirs = peer.scrape()
            assert samples(page) == samples(theirs), "the two servers do not serve the same samples"
            print(f"\n{words}")
            for change in ("all", "near"):
                peer_seconds = measure(peer, change, max(5, options.rounds - 2))
                faster = peer_seconds / seconds[change]
                print(
                    f"  {CHANGES[change]:40} {peer_seconds * 1e3:9.1f} ms, ours {faster:.0f}x"
                    f" faster, target {TARGET_FASTER}x: {verdict(faster >= TARGET_FASTER)}"
                )
            rss = peer.memory_mb("VmRSS")
            print(f"  VmRSS {rss:.0f} MB, VmHWM {peer.memory_mb('VmHWM'):.0f} MB")


if __name__ == "__main__":
    main()
