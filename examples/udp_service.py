"""A key-value service over UDP, and its client.

    python -m ferrio examples/udp_service.py serve --port 9999
    python -m ferrio examples/udp_service.py set colour blue --port 9999
    python -m ferrio examples/udp_service.py get colour --port 9999

A datagram is JSON: a request with a number of its client's, an answer with the same. Datagrams get lost, so the client
asks again; requests are such that asking twice does no harm. An address that asks too often gets no answer.
"""

import argparse
import asyncio
import itertools
import json
import sys
import time
from typing import Any

MOST_A_SECOND = 1000
MOST_ADDRESSES = 10_000
MOST_NAMES = 1_000_000
FIRST_WAIT_S = 0.05
TRIES = 5


class Service(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        # Requests of this second, by address.
        self._second, self._counts = 0, dict[str, int]()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.DatagramTransport)
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        if not self._may_ask(addr[0]):
            return
        try:
            request = json.loads(data)
            number, name = request["number"], str(request["name"])
        except (ValueError, KeyError, TypeError):
            # Whoever sends what is no request gets nothing to amplify.
            return
        if "value" in request and (name in self._values or len(self._values) < MOST_NAMES):
            self._values[name] = request["value"]
        self._transport.sendto(json.dumps({"number": number, "value": self._values.get(name)}).encode(), addr)

    def _may_ask(self, host: str) -> bool:
        second = int(time.monotonic())
        if second != self._second or len(self._counts) > MOST_ADDRESSES:
            self._second, self._counts = second, {}
        count = self._counts[host] = self._counts.get(host, 0) + 1
        return count <= MOST_A_SECOND


class Client(asyncio.DatagramProtocol):
    """``await client.ask(name="colour")``; as many at once as one likes."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.DatagramTransport)
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        answer = json.loads(data)
        future = self._waiting.get(answer["number"])
        # The answer to a question that was asked twice may come twice.
        if future is not None and not future.done():
            future.set_result(answer["value"])

    def error_received(self, exc: Exception) -> None:
        # Nobody is there yet, perhaps: the next try will see.
        pass

    async def ask(self, **request: Any) -> Any:
        """The value.

        Raises:
            TimeoutError: No answer came to any try.
        """
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            for attempt in range(TRIES):
                self._transport.sendto(json.dumps({"number": number, **request}).encode())
                done, _ = await asyncio.wait([future], timeout=FIRST_WAIT_S * 2**attempt)
                if done:
                    return future.result()
            raise TimeoutError(f"no answer to {request} after {TRIES} tries")
        finally:
            del self._waiting[number]


async def serve(arguments: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Service, local_addr=(arguments.host, arguments.port))
    try:
        print(f"listening on {arguments.host}:{transport.get_extra_info('sockname')[1]}", flush=True)
        await asyncio.get_running_loop().create_future()
    finally:
        transport.close()


async def ask(arguments: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_datagram_endpoint(Client, remote_addr=(arguments.host, arguments.port))
    try:
        request = {"name": arguments.name} | ({"value": arguments.value} if arguments.action == "set" else {})
        print(await client.ask(**request))
    finally:
        transport.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    actions = parser.add_subparsers(dest="action", required=True)
    for action, names in {"serve": [], "get": ["name"], "set": ["name", "value"]}.items():
        one = actions.add_parser(action)
        for name in names:
            one.add_argument(name)
        one.add_argument("--host", default="127.0.0.1")
        one.add_argument("--port", type=int, default=9999)
    arguments = parser.parse_args()
    try:
        asyncio.run((serve if arguments.action == "serve" else ask)(arguments))
    except TimeoutError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
