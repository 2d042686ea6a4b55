"""Echo servers of the crate `ferrio`, of tokio and of C's epoll, side by side.

    python benchmarks/rust/echo.py [--rounds N] [--seconds S] [--sizes 1024,65536,...] [--connections 1,100,...]

Every round runs each server once, in turn, against the load generator of ``benchmarks/loadgen``, server and generator
on a core of their own each. A figure is the server's CPU time for a message; ratios are of figures of the same round.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent.parent / "target"))
SERVER_CORE, CLIENT_CORE = 0, 1


def build() -> dict[str, list[str]]:
    """Builds everything; the servers' commands by their names, C's first."""
    subprocess.run(["cargo", "build", "--release", "--target-dir", TARGET / "rust-benchmarks"], cwd=HERE, check=True)
    loadgen = ["cargo", "build", "--release", "--target-dir", TARGET / "loadgen"]
    subprocess.run(loadgen, cwd=HERE.parent / "loadgen", check=True)
    in_c = TARGET / "rust-benchmarks" / "c_epoll_echo"
    subprocess.run(["cc", "-O2", "-o", in_c, HERE.parent / "net" / "c_epoll_echo.c"], check=True)
    programs = TARGET / "rust-benchmarks" / "release"
    return {
        "c": [str(in_c)],
        "ferrio": [str(programs / "echo_ferrio")],
        "ferrio streams": [str(programs / "echo_ferrio"), "streams"],
        "tokio": [str(programs / "echo_tokio")],
    }


def measure(command: list[str], connections: int, size: int, seconds: float) -> float:
    """Microseconds of the server's CPU time for a message."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE})
    ) as server:
        try:
            assert server.stdout is not None
            port = server.stdout.readline().split()[1]
            options = {
                "--tcp": f"127.0.0.1:{port}",
                "--connections": connections,
                "--size": size,
                "--seconds": seconds,
                "--core": CLIENT_CORE,
                "--cpu-of": server.pid,
            }
            words = [str(word) for option in options.items() for word in option]
            loadgen = TARGET / "loadgen" / "release" / "loadgen"
            report = json.loads(subprocess.run([loadgen, *words], check=True, capture_output=True).stdout)
        finally:
            server.kill()
    return float(report["server_cpu_s"]) / int(report["messages"]) * 1e6


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--sizes", type=numbers, default=[1024, 65536, 1048576])
    parser.add_argument("--connections", type=numbers, default=[1, 100, 1000])
    options = parser.parse_args()
    servers = build()
    cases = [(100, size) for size in options.sizes] + [(count, 1024) for count in options.connections if count != 100]
    for connections, size in cases:
        rounds = [
            {name: measure(command, connections, size, options.seconds) for name, command in servers.items()}
            for _ in range(options.rounds)
        ]
        print(f"{connections} connections, {size} bytes")
        for name in servers:
            figure = statistics.median(each[name] for each in rounds)
            ratios = sorted(each[name] / each["c"] for each in rounds)
            spread = f"{ratios[0]:.2f} - {ratios[-1]:.2f}"
            print(f"  {name:<16}{figure:8.2f} us   {statistics.median(ratios):.2f} of C ({spread})")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
