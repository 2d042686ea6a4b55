"""Results of a run that never took place."""

from typing import Any

from harness import sample, summary
from harness.rounds import settings_as_data

ECHO = {"messages_per_s": 1e5, "p50_us": 900.0, "p99_us": 1200.0, "p999_us": 1500.0, "max_us": 3000.0}
BUSY = {"server_busy": 1.0, "client_busy": 0.7, "max_rss_kib": 30_000, "others_busy": 0.0}


def echo_sample(loop: str, number: int, cpu_us: float, **changes: float) -> dict[str, Any]:
    metrics = {**ECHO, **BUSY, "cpu_us": cpu_us, **changes}
    return {"case": "echo-protocol", "loop": loop, "round": number, "metrics": metrics}


def micro_sample(case: str, loop: str, number: int, ns: float) -> dict[str, Any]:
    metrics = {"ns": ns, "ops_per_s": 1e9 / ns, "others_busy": 0.0}
    return {"case": case, "loop": loop, "round": number, "metrics": metrics}


def make_results(samples: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """As ``results.json`` holds them; fit for quoting unless *changes* say otherwise."""
    return {
        "date": "2026-01-02T03:04:05+00:00",
        "machine": {"cpu": "A CPU", "cores": 2, "hypervisor": True, "kernel": "Linux 6", "load_average": 0.0},
        "python": {
            "version": "3.14.0",
            "build": "3.14.0 [GCC]",
            "optimised": True,
            "evidence": "It is.",
            "gil": True,
        },
        "versions": {"uvloop": "0.23.0", "ferrio": "0.1.0"},
        "commit": "0123456789ab",
        "rounds": 3,
        "quick": False,
        "interrupted": False,
        "settings": settings_as_data(sample.Settings()),
        "loops": ["uvloop", "ferrio"],
        "left_out": {},
        "summary": summary.summarise(samples),
        "failures": [],
        "samples": samples,
        **changes,
    }
