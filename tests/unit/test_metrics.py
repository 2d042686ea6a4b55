"""``ferrio.metrics``: what exporters of Prometheus and OpenTelemetry read of a loop."""

import asyncio
import gc
import urllib.request
import weakref
from typing import Any

import pytest

import ferrio
from ferrio import metrics

from .loops import ferrio_only, turn

# Imported before a test begins: what is loaded with it may keep a descriptor.
try:
    import opentelemetry.sdk.metrics.export
    from opentelemetry.sdk import metrics as opentelemetry
except ImportError:
    opentelemetry = None

pytestmark = ferrio_only


def prometheus() -> Any:
    return pytest.importorskip("prometheus_client", reason="prometheus_client is not installed")


def test_prometheus_scrapes_what_the_loop_has_done(loop: ferrio.Loop) -> None:
    client = prometheus()
    registry = client.CollectorRegistry()
    metrics.register_with_prometheus(loop, registry=registry)
    loop.call_later(1000, print).cancel()
    loop.call_later(1000, print)
    for _ in range(5):
        loop.call_soon(int)
    turn(loop, 2)
    statistics = loop.statistics()

    def value(name: str) -> float | None:
        found: float | None = registry.get_sample_value(f"ferrio_loop_{name}", {"loop": "main"})
        return found

    assert value("turns_total") == statistics.turns == 2
    assert value("callbacks_total") == statistics.callbacks >= 5
    assert value("timers") == statistics.timers
    assert value("sent_bytes_total") == 0
    assert value("max_timer_lag_seconds") == statistics.max_timer_lag
    for name in ("connections", "queued_bytes", "tasks", "executor_queue", "executor_busy"):
        assert value(name) == 0
    names = {f"ferrio_loop_{name}" for name in ("turns", "polls", "ready", "watched", "timer_lag_seconds")}
    assert names <= {family.name for family in registry.collect()}


def test_a_scrape_over_http_has_real_figures() -> None:
    client = prometheus()
    registry = client.CollectorRegistry()
    server, thread = client.start_http_server(0, "127.0.0.1", registry=registry)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(1000))
        writer.close()

    def scrape() -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics") as response:
            lines = response.read().decode().splitlines()
        samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}

    async def main() -> dict[str, float]:
        metrics.register_with_prometheus(name="service", registry=registry)
        listening = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with listening:
            reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
            open_now = await asyncio.to_thread(scrape)
            assert open_now['ferrio_loop_connections{loop="service"}'] >= 1
            # This one, and that of the connection if it has been accepted by now.
            assert open_now['ferrio_loop_tasks{loop="service"}'] in (1, 2)
            assert open_now['ferrio_loop_executor_busy{loop="service"}'] == 1
            writer.write(b"x" * 1000)
            assert len(await reader.read()) == 1000
            writer.close()
        return await asyncio.to_thread(scrape)

    try:
        figures = ferrio.run(main())
        assert scrape() == {}
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert figures['ferrio_loop_sent_bytes_total{loop="service"}'] == 2000
    assert figures['ferrio_loop_received_bytes_total{loop="service"}'] == 2000
    assert figures['ferrio_loop_turns_total{loop="service"}'] > 3


def test_opentelemetry_reads_what_the_loop_has_done(loop: ferrio.Loop) -> None:
    if opentelemetry is None:
        pytest.skip("opentelemetry-sdk is not installed")
    reader = opentelemetry.export.InMemoryMetricReader()
    provider = opentelemetry.MeterProvider([reader])
    other = ferrio.new_event_loop()
    metrics.register_with_opentelemetry(loop, meter_provider=provider)
    metrics.register_with_opentelemetry(other, name="other", meter_provider=provider)
    turn(loop, 3)
    turn(other, 2)

    def read() -> dict[str, dict[str, float]]:
        data = reader.get_metrics_data()
        resources = [] if data is None else data.resource_metrics
        found = [each for resource in resources for scope in resource.scope_metrics for each in scope.metrics]
        return {each.name: {p.attributes["loop"]: p.value for p in each.data.data_points} for each in found}

    figures = read()
    assert figures["ferrio.loop.turns"] == {"main": 3, "other": 2}
    assert figures["ferrio.loop.ready"] == {"main": 0, "other": 0}
    assert {"ferrio.loop.sent_bytes", "ferrio.loop.timer_lag"} <= set(figures)
    for name in ("connections", "queued_bytes", "tasks", "executor_queue", "executor_busy"):
        assert figures[f"ferrio.loop.{name}"] == {"main": 0, "other": 0}
    other.close()
    assert read()["ferrio.loop.turns"] == {"main": 3}
    provider.shutdown()


def test_metrics_keep_no_loop_alive_and_a_name_is_free_when_its_loop_is_closed() -> None:
    registry = prometheus().CollectorRegistry()
    first, second = ferrio.new_event_loop(), ferrio.new_event_loop()
    metrics.register_with_prometheus(first, registry=registry)
    metrics.register_with_prometheus(first, registry=registry)
    with pytest.raises(ValueError, match="another loop"):
        metrics.register_with_prometheus(second, registry=registry)
    first.close()
    metrics.register_with_prometheus(second, registry=registry)
    assert registry.get_sample_value("ferrio_loop_turns_total", {"loop": "main"}) == 0
    second.close()
    reference = weakref.ref(second)
    del first, second
    gc.collect()
    assert reference() is None
    assert registry.get_sample_value("ferrio_loop_turns_total", {"loop": "main"}) is None


def test_only_ferrios_loops_have_metrics() -> None:
    registry = prometheus().CollectorRegistry()
    other = asyncio.SelectorEventLoop()
    with pytest.raises(TypeError, match="a loop of Ferrio's"):
        metrics.register_with_prometheus(other, registry=registry)
    other.close()
    assert list(registry.collect()) == []
    with pytest.raises(RuntimeError, match="no running event loop"):
        metrics.register_with_prometheus(registry=registry)


def work(loop: ferrio.Loop) -> None:
    """Have the loop measure a sleep and a task."""

    async def main() -> None:
        await asyncio.sleep(0.001)

    loop.start_measuring(coroutines=True)
    loop.run_until_complete(main())
    loop.stop_measuring()


def test_prometheus_scrapes_histograms_and_the_time_of_coroutines(loop: ferrio.Loop) -> None:
    client = prometheus()
    registry = client.CollectorRegistry()
    metrics.register_with_prometheus(loop, registry=registry)
    assert registry.get_sample_value("ferrio_loop_turn_times_seconds_count", {"loop": "main"}) is None
    work(loop)
    found = loop.histograms()
    for field, shown in (("timer_lag", "timer_lag"), ("turns", "turn"), ("callbacks", "callback"), ("waits", "wait")):
        histogram = getattr(found, field)
        assert histogram.total > 0

        def value(part: str, shown: str = shown, **labels: str) -> float | None:
            sample: float | None = registry.get_sample_value(
                f"ferrio_loop_{shown}_times_seconds_{part}", {"loop": "main", **labels}
            )
            return sample

        assert value("count") == value("bucket", le="+Inf") == histogram.total
        assert value("sum") == pytest.approx(histogram.sum_s)
        assert value("bucket", le="1.048576") == sum(histogram.counts[:21])
    [(name, cost)] = loop.coroutine_costs().items()
    labels = {"loop": "main", "coroutine": name}
    assert registry.get_sample_value("ferrio_loop_coroutine_cpu_seconds_total", labels) == cost.cpu_s > 0
    assert b'ferrio_loop_turn_times_seconds_bucket{le="1e-06",loop="main"}' in client.generate_latest(registry)


def test_opentelemetry_reads_histograms_and_the_time_of_coroutines(loop: ferrio.Loop) -> None:
    if opentelemetry is None:
        pytest.skip("opentelemetry-sdk is not installed")
    reader = opentelemetry.export.InMemoryMetricReader()
    provider = opentelemetry.MeterProvider([reader])
    metrics.register_with_opentelemetry(loop, meter_provider=provider)
    work(loop)
    data = reader.get_metrics_data()
    assert data is not None
    points = {
        metric.name: list(metric.data.data_points)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    turns = loop.histograms().turns
    assert [point.value for point in points["ferrio.loop.turn_times.count"]] == [turns.total]
    assert [point.value for point in points["ferrio.loop.turn_times.sum"]] == [turns.sum_s]
    below = {point.attributes["le"]: point.value for point in points["ferrio.loop.turn_times.bucket"]}
    assert len(below) == len(metrics.BOUNDS_S) + 1
    assert below["+Inf"] == turns.total
    [(name, cost)] = loop.coroutine_costs().items()
    [point] = points["ferrio.loop.coroutine_cpu"]
    assert (point.attributes["coroutine"], point.value) == (name, cost.cpu_s)
    provider.shutdown()
