"""yappi, viztracer and line_profiler count the calls and the lines of coroutines that the loop runs."""

import asyncio
import json
import tempfile
from pathlib import Path

import loop_under_test
import yappi
from line_profiler import LineProfiler
from viztracer import VizTracer


async def nap() -> None:
    await asyncio.sleep(0.01)


async def main() -> None:
    loop_under_test.check()
    await asyncio.gather(nap(), nap())
    await asyncio.wait_for(nap(), 5)


yappi.set_clock_type("WALL")
yappi.start()
asyncio.run(main())
yappi.stop()
(stats,) = [each for each in yappi.get_func_stats() if each.name == "nap"]
assert stats.ncall == 3
assert stats.ttot >= 0.025

profiler = LineProfiler(nap)
profiler.enable_by_count()
asyncio.run(main())
profiler.disable_by_count()
(lines,) = profiler.get_stats().timings.values()
assert [hits for _, hits, _ in lines] == [3]

with tempfile.TemporaryDirectory() as folder:
    report = Path(folder) / "report.json"
    tracer = VizTracer(log_async=True, verbose=0, output_file=str(report))
    tracer.start()
    asyncio.run(main())
    tracer.stop()
    tracer.save()
    events = json.loads(report.read_text())["traceEvents"]
assert sum(event["name"].startswith("nap ") for event in events) >= 3
