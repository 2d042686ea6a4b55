"""What is measured: network cases (a server and the load generator), applications, micro cases, memory."""

import inspect
from dataclasses import dataclass
from fnmatch import fnmatch

import loops
from micro.scheduling import BENCHMARKS


@dataclass(frozen=True)
class EchoCase:
    """A closed loop: every connection has one message under way."""

    name: str
    api: str
    connections: int = 100
    size_bytes: int = 1024
    unix: bool = False
    #: The length of every other message, where that differs.
    then_bytes: int | None = None
    group: str = "net"
    #: How many times the usual length the window has: the messages under way at its ends must be few beside the others.
    windows: int = 1
    tls: bool = False
    #: A message is a whole connection: a handshake, one echo, the end.
    handshakes: bool = False

    @property
    def also(self) -> tuple[str, ...]:
        """Contestants besides the loops."""
        return (loops.LIMIT, loops.AIOFASTNET) if self.tls else (loops.LIMIT,)

    @property
    def lines(self) -> bool:
        return self.api == "readline"

    @property
    def saturates(self) -> bool:
        """So many messages are under way that one always waits for the server."""
        return self.connections >= 16

    @property
    def title(self) -> str:
        size = size_in_words(self.size_bytes)
        if self.then_bytes is not None:
            size += f" and {size_in_words(self.then_bytes)} by turns"
        plural = "s" if self.connections > 1 else ""
        family = "TLS" if self.tls else "Unix" if self.unix else "TCP"
        if self.handshakes:
            return f"TLS handshake and echo of {size}, {self.api}, {self.connections:,} connection{plural} at a time"
        return f"{family} echo, {self.api}, {self.connections:,} connection{plural} x {size}"

    @property
    def uses_namespace(self) -> bool:
        """Whether ``ferrio.asyncio`` in place of asyncio can make a difference."""
        return self.api in ("streams", "readline")


def size_in_words(size_bytes: int) -> str:
    for unit, name in ((1024 * 1024, "MiB"), (1024, "KiB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:g} {name}"
    return f"{size_bytes} B"


@dataclass(frozen=True)
class ServiceCase:
    """A web service under the load generator: every connection has one request under way."""

    name: str
    framework: str
    connections: int = 32
    also: tuple[str, ...] = (loops.C_TASKS,)

    group = "apps"

    @property
    def title(self) -> str:
        server = {"fastapi": "FastAPI under uvicorn", "aiohttp": "aiohttp server"}[self.framework]
        return f"{server}, {self.connections} connections"


@dataclass(frozen=True)
class ClientCase:
    """A client program: so many tasks, each with one request under way. Its server has the other core."""

    name: str
    client: str
    tasks: int = 32

    group = "apps"
    also = (loops.C_TASKS,)

    @property
    def title(self) -> str:
        client = {"aiohttp": "aiohttp client", "asyncpg": "asyncpg, one row a query"}[self.client]
        return f"{client}, {self.tasks} tasks"


@dataclass(frozen=True)
class MicroCase:
    """One function of ``micro/``, in a process of its own."""

    name: str

    group = "micro"
    also = ()

    @property
    def title(self) -> str:
        return BENCHMARKS[self.name].operation

    @property
    def threaded(self) -> bool:
        return BENCHMARKS[self.name].threaded

    @property
    def unit(self) -> str:
        return BENCHMARKS[self.name].unit

    @property
    def uses_namespace(self) -> bool:
        """Whether ``ferrio.asyncio`` in place of asyncio can make a difference."""
        return "namespace" in inspect.unwrap(BENCHMARKS[self.name].run).__code__.co_names

    @property
    def is_long(self) -> bool:
        return BENCHMARKS[self.name].is_long


@dataclass(frozen=True)
class IdleCase:
    """Connections that do nothing, held by one server."""

    name: str
    connections: int = 10_000

    tls: bool = False
    #: The clients begin a handshake of TLS and never go on.
    half_open: bool = False

    group = "memory"

    @property
    def also(self) -> tuple[str, ...]:
        return (loops.AIOFASTNET,) if self.tls or self.half_open else ()

    @property
    def title(self) -> str:
        if self.half_open:
            return f"{self.connections:,} handshakes of TLS that do not go on, protocol"
        return f"{self.connections:,} idle {'TLS' if self.tls else 'TCP'} connections, protocol"


def large_payloads() -> list[EchoCase]:
    """Two sizes, few connections and many; and connections whose messages are small and large by turns."""
    fixed = [
        EchoCase(f"echo-{api}-{label}-{connections}", api, connections, size_bytes, group="large")
        for api in ("protocol", "buffered", "streams")
        for label, size_bytes in (("64k", 64 * 1024), ("1m", 1024 * 1024))
        for connections in (4, 100)
    ]
    mixed = [
        EchoCase(f"echo-{api}-mixed", api, 16, 64, then_bytes=256 * 1024, group="large")
        for api in ("protocol", "buffered", "streams")
    ]
    return [*fixed, *mixed]


def over_tls() -> list[EchoCase]:
    """Echoes of three sizes, and connections that are made for one message."""
    sizes = ((32, 1024), (16, 16 * 1024), (8, 64 * 1024))
    echoes = [
        EchoCase(f"tls-{api}-{size_bytes // 1024}k", api, connections, size_bytes, tls=True, group="tls")
        for api in ("protocol", "buffered", "streams")
        for connections, size_bytes in sizes
    ]
    return [*echoes, EchoCase("tls-handshakes", "protocol", 32, tls=True, handshakes=True, group="tls")]


AppCase = ServiceCase | ClientCase
Case = EchoCase | AppCase | MicroCase | IdleCase

CASES: tuple[Case, ...] = (
    EchoCase("echo-protocol", "protocol"),
    EchoCase("echo-streams", "streams"),
    EchoCase("echo-readline", "readline"),
    EchoCase("echo-sock", "sock"),
    EchoCase("echo-protocol-one", "protocol", connections=1),
    EchoCase("echo-protocol-unix", "protocol", unix=True),
    EchoCase("echo-protocol-5000", "protocol", connections=5_000, windows=3),
    EchoCase("echo-streams-5000", "streams", connections=5_000, windows=3),
    EchoCase("echo-buffered", "buffered"),
    *large_payloads(),
    *over_tls(),
    ServiceCase("app-fastapi", "fastapi"),
    *(ServiceCase(f"app-fastapi-{number}", "fastapi", number, also=()) for number in (8, 64, 256)),
    ServiceCase("app-aiohttp", "aiohttp"),
    ClientCase("app-aiohttp-client", "aiohttp"),
    ClientCase("app-asyncpg", "asyncpg", tasks=8),
    *(MicroCase(name) for name in BENCHMARKS),
    IdleCase("idle-connections"),
    IdleCase("idle-connections-tls", 2_000, tls=True),
    IdleCase("half-open-tls", 1_000, half_open=True),
)


def pick(patterns: str | None) -> list[Case]:
    """The cases whose name or group matches one of the comma-separated shell *patterns*; without, all.

    Raises:
        ValueError: A pattern matches nothing.
    """
    if patterns is None:
        return list(CASES)
    wanted = [pattern.strip() for pattern in patterns.split(",")]
    groups = dict.fromkeys(case.group for case in CASES)
    for pattern in wanted:
        if not any(fnmatch(case.name, pattern) or case.group == pattern for case in CASES):
            names = ", ".join(case.name for case in CASES)
            raise ValueError(f"no case is called {pattern}; there are {', '.join(groups)}, {names}")
    return [case for case in CASES if any(fnmatch(case.name, w) or case.group == w for w in wanted)]


#: What says most in three minutes: `python benchmarks --brief`.
BRIEF = (
    "echo-protocol",
    "echo-streams",
    "echo-sock",
    "echo-protocol-64k-4",
    "app-fastapi",
    "udp_ping_pong",
    "connect_accept_close",
    "call_soon",
    "call_later_cancel",
    "spawn",
    "sleep_zero",
    "gather_100",
    "queue",
)
