"""``ferrio.metrics``: a loop's counters in Prometheus' client library or through the OpenTelemetry metrics API.

Both libraries are optional, and only the one that is used is imported. What is shown is ``Loop.statistics()``,
``Loop.histograms()`` and ``Loop.coroutine_costs()``, read when somebody collects, in whichever thread: the loop does no
work for it. A loop that is closed or gone is shown no
more.
"""

from __future__ import annotations

import asyncio
import importlib
import weakref
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any, NamedTuple

from ._event_loop import Loop
from ._statistics import BOUNDS_S, CoroutineCost, Histogram, Histograms

__all__ = [
    "BOUNDS_S",
    "CoroutineCost",
    "Histogram",
    "Histograms",
    "register_with_opentelemetry",
    "register_with_prometheus",
]


class _Metric(NamedTuple):
    field: str
    is_counter: bool
    unit: str
    description: str


_METRICS = (
    _Metric("turns", True, "", "Turns of the loop"),
    _Metric("polls", True, "", "Calls that asked the kernel for events"),
    _Metric("sleeps", True, "", "Polls that were allowed to block"),
    _Metric("callbacks", True, "", "Callbacks, steps of tasks and transports that were run"),
    _Metric("timers_fired", True, "", "Timers that came due"),
    _Metric("received_bytes", True, "bytes", "Bytes that transports have received"),
    _Metric("sent_bytes", True, "bytes", "Bytes of transports that the kernel has accepted"),
    _Metric("ready", False, "", "Callbacks that are ready to run"),
    _Metric("timers", False, "", "Timers that are pending"),
    _Metric("watched", False, "", "Descriptors that are registered with the kernel"),
    _Metric("timer_lag", False, "seconds", "By how much the last timer was late"),
    _Metric("max_timer_lag", False, "seconds", "By how much the latest timer was late"),
    _Metric("connections", False, "", "Stream connections that are open"),
    _Metric("queued_bytes", False, "bytes", "Bytes of transports that the kernel has not taken"),
    _Metric("tasks", False, "", "Tasks that are alive"),
    _Metric("executor_queue", False, "", "Calls that wait for a thread of the default executor"),
    _Metric("executor_busy", False, "", "Threads of the default executor that run a call"),
)


#: Names of ``Histograms``, as they are shown and described.
_HISTOGRAMS = (
    ("timer_lag", "timer_lag_times", "By how much timers were late"),
    ("turns", "turn_times", "From the beginning of a turn's first callback to the end of its last one"),
    ("callbacks", "callback_times", "Callbacks, steps of tasks and transports that made progress"),
    ("waits", "wait_times", "Questions to the kernel, until it answered"),
)
_COROUTINES = ("coroutine_cpu", "Processor's time of the steps of coroutines")


class _Loops:
    """The loops that are shown at one place, by the value of their label. They are not kept alive."""

    def __init__(self) -> None:
        self._loops: dict[str, weakref.ref[Loop]] = {}

    def add(self, name: str, loop: Loop) -> None:
        if self._live(name) not in (None, loop):
            raise ValueError(f"another loop is registered under the name {name!r}")
        self._loops[name] = weakref.ref(loop)

    def _live(self, name: str) -> Loop | None:
        reference = self._loops.get(name)
        loop = None if reference is None else reference()
        return None if loop is None or loop.is_closed() else loop

    def live(self) -> list[tuple[str, Loop]]:
        """Name and loop of each that is open."""
        live = {name: self._live(name) for name in list(self._loops)}
        return [(name, loop) for name, loop in live.items() if loop is not None]

    def read(self) -> list[tuple[str, Any]]:
        """Name and statistics of each loop that is open."""
        return [(name, loop.statistics()) for name, loop in self.live()]

    def histograms(self, field: str) -> list[tuple[str, Histogram]]:
        """Name and histogram of each that has something in it."""
        found = [(name, getattr(loop.histograms(), field)) for name, loop in self.live()]
        return [(name, histogram) for name, histogram in found if histogram.total]


# By registry or meter provider.
_prometheus: weakref.WeakKeyDictionary[Any, _Loops] = weakref.WeakKeyDictionary()
_opentelemetry: weakref.WeakKeyDictionary[Any, _Loops] = weakref.WeakKeyDictionary()


def register_with_prometheus(
    loop: asyncio.AbstractEventLoop | None = None, *, name: str = "main", registry: Any = None
) -> None:
    """Show the counters of *loop* in a registry of ``prometheus_client``, as ``ferrio_loop_...{loop="<name>"}``.

    Args:
        loop: A loop of Ferrio's; the running one when None.
        name: The label's value. A name whose loop is closed may be used again.
        registry: A ``CollectorRegistry``; the library's own when None.

    Raises:
        ImportError: ``prometheus_client`` is not installed.
        TypeError: *loop* is not Ferrio's.
        ValueError: Another loop has the name.
    """
    core = importlib.import_module("prometheus_client.core")
    registry = core.REGISTRY if registry is None else registry
    loops = _prometheus.get(registry) or _Loops()
    loops.add(name, _own(loop))
    if registry not in _prometheus:
        registry.register(_Collector(loops, core))
        _prometheus[registry] = loops


class _Collector:
    """What a registry of ``prometheus_client`` asks."""

    def __init__(self, loops: _Loops, core: Any) -> None:
        self._loops = loops
        self._core = core

    def collect(self) -> Iterator[Any]:
        read = self._loops.read()
        for metric in _METRICS:
            kind = self._core.CounterMetricFamily if metric.is_counter else self._core.GaugeMetricFamily
            unit = f"_{metric.unit}" if metric.unit and not metric.field.endswith(metric.unit) else ""
            family = kind(f"ferrio_loop_{metric.field}{unit}", metric.description, labels=["loop"])
            for name, statistics in read:
                family.add_metric([name], getattr(statistics, metric.field))
            yield family
        for field, shown, description in _HISTOGRAMS:
            times = self._core.HistogramMetricFamily(f"ferrio_loop_{shown}_seconds", description, labels=["loop"])
            for name, histogram in self._loops.histograms(field):
                times.add_metric([name], _buckets(histogram), histogram.sum_s)
            yield times
        shown, description = _COROUTINES
        costs = self._core.CounterMetricFamily(
            f"ferrio_loop_{shown}_seconds", description, labels=["loop", "coroutine"]
        )
        for name, loop in self._loops.live():
            for coroutine, cost in loop.coroutine_costs().items():
                costs.add_metric([name, coroutine], cost.cpu_s)
        yield costs


def _buckets(histogram: Histogram) -> list[tuple[str, int]]:
    """The upper bounds, as texts, and how many times do not exceed each."""
    bounds = [*map(repr, BOUNDS_S), "+Inf"]
    return list(zip(bounds, accumulate(histogram.counts), strict=True))


def register_with_opentelemetry(
    loop: asyncio.AbstractEventLoop | None = None, *, name: str = "main", meter_provider: Any = None
) -> None:
    """Show the counters of *loop* through the OpenTelemetry metrics API, as observable ``ferrio.loop.<counter>``.

    That API has no observable histogram: a histogram is an observable counter ``...bucket`` with the upper bound in
    seconds as the attribute ``le``, one ``...sum`` and one ``...count``, as Prometheus has them.

    Args:
        loop: A loop of Ferrio's; the running one when None.
        name: The value of the attribute ``loop``. A name whose loop is closed may be used again.
        meter_provider: A ``MeterProvider``; the global one when None.

    Raises:
        ImportError: ``opentelemetry-api`` is not installed.
        TypeError: *loop* is not Ferrio's.
        ValueError: Another loop has the name.
    """
    api = importlib.import_module("opentelemetry.metrics")
    provider = api.get_meter_provider() if meter_provider is None else meter_provider
    loops = _opentelemetry.get(provider) or _Loops()
    loops.add(name, _own(loop))
    if provider in _opentelemetry:
        return
    meter = provider.get_meter("ferrio")
    for metric in _METRICS:
        create = meter.create_observable_counter if metric.is_counter else meter.create_observable_gauge
        unit = {"bytes": "By", "seconds": "s"}.get(metric.unit, "1")
        callback = _observer(loops, metric.field, api.Observation)
        create(f"ferrio.loop.{metric.field}", callbacks=[callback], unit=unit, description=metric.description)
    for field, shown, description in _HISTOGRAMS:
        for part, unit in (("bucket", "1"), ("sum", "s"), ("count", "1")):
            observe = _histogram_observer(loops, field, part, api.Observation)
            name_of_part = f"ferrio.loop.{shown}.{part}"
            meter.create_observable_counter(name_of_part, callbacks=[observe], unit=unit, description=description)
    shown, description = _COROUTINES

    def observe_coroutines(_options: Any) -> list[Any]:
        return [
            api.Observation(cost.cpu_s, {"loop": name, "coroutine": coroutine})
            for name, loop in loops.live()
            for coroutine, cost in loop.coroutine_costs().items()
        ]

    meter.create_observable_counter(
        f"ferrio.loop.{shown}", callbacks=[observe_coroutines], unit="s", description=description
    )
    _opentelemetry[provider] = loops


def _observer(loops: _Loops, field: str, observation: Any) -> Callable[[Any], list[Any]]:
    return lambda _options: [observation(getattr(read, field), {"loop": name}) for name, read in loops.read()]


def _histogram_observer(loops: _Loops, field: str, part: str, observation: Any) -> Callable[[Any], list[Any]]:
    def observe(_options: Any) -> list[Any]:
        found = []
        for name, histogram in loops.histograms(field):
            if part == "bucket":
                found += [observation(below, {"loop": name, "le": bound}) for bound, below in _buckets(histogram)]
            else:
                found.append(observation(histogram.sum_s if part == "sum" else histogram.total, {"loop": name}))
        return found

    return observe


def _own(loop: asyncio.AbstractEventLoop | None) -> Loop:
    loop = asyncio.get_running_loop() if loop is None else loop
    if not isinstance(loop, Loop):
        raise TypeError(f"a loop of Ferrio's is required, not {loop!r}")
    return loop
