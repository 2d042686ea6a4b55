"""Sentry sets a task factory, OpenTelemetry replaces functions of asyncio: both see what tasks do."""

import asyncio
import os
from typing import Any

import loop_under_test

os.environ["OTEL_PYTHON_ASYNCIO_COROUTINE_NAMES_TO_TRACE"] = "traced"

import sentry_sdk
from opentelemetry.instrumentation.asyncio import AsyncioInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sentry_sdk.integrations.asyncio import AsyncioIntegration

events: list[Any] = []


async def traced() -> str:
    await asyncio.sleep(0)
    return "traced"


async def fails() -> None:
    await asyncio.sleep(0)
    raise ValueError("seen")


async def with_sentry() -> None:
    loop_under_test.check()
    sentry_sdk.init(
        "http://key@localhost/1",
        before_send=lambda event, _: events.append(event),
        integrations=[AsyncioIntegration()],
        default_integrations=False,
    )
    assert await asyncio.gather(asyncio.create_task(traced()), traced()) == ["traced", "traced"]
    await asyncio.wait([asyncio.create_task(fails())])


def with_opentelemetry() -> list[str]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    AsyncioInstrumentor().instrument(tracer_provider=provider)

    async def main() -> None:
        await asyncio.wait_for(traced(), 5)
        await asyncio.gather(traced(), traced())
        await asyncio.create_task(traced())
        async with asyncio.TaskGroup() as group:
            group.create_task(traced())
        for each in asyncio.as_completed([traced()]):
            await each

    try:
        asyncio.run(main())
    finally:
        AsyncioInstrumentor().uninstrument()
    return [span.name for span in exporter.get_finished_spans()]


asyncio.run(with_sentry())
assert [event["exception"]["values"][-1]["type"] for event in events] == ["ValueError"]
names = with_opentelemetry()
assert names.count("asyncio coro-traced") >= 6, names
