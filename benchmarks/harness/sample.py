"""One measurement of one case on one loop, in fresh processes."""

import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import loops

from .cases import Case, ClientCase, EchoCase, IdleCase, MicroCase, ServiceCase
from .programs import BENCHMARKS, BuildFailed, Programs
from .services import ServiceMissing

#: A server that has not announced its address after this long is not going to.
START_S = 20.0
#: The system clock of a process and its resource usage are read at slightly different moments.
CLOCK_SLACK_S = 0.05

#: The loop of the server that client programs ask.
SERVER_OF_CLIENTS = "asyncio"

Metrics = dict[str, float]


class SampleFailed(Exception):
    """There is no figure; the argument is a sentence."""


@dataclass(frozen=True)
class Settings:
    """Lengths and places of the measurements."""

    seconds: float = 1.0
    warmup_s: float = 0.3
    micro_seconds: float = 0.1
    micro_repeats: int = 3
    server_core: int = 0
    client_core: int = 1


def expected_seconds(case: Case, settings: Settings) -> float:
    """A first guess of how long :func:`take` needs; progress reports correct it."""
    if isinstance(case, EchoCase):
        return 0.3 + (settings.warmup_s + settings.seconds) * case.windows
    if isinstance(case, ServiceCase | ClientCase):
        return 1.5 + settings.warmup_s + settings.seconds
    if isinstance(case, IdleCase):
        return 3.0
    return 0.3 + (settings.micro_repeats + 2) * settings.micro_seconds


def take(case: Case, loop: str, settings: Settings, programs: Programs) -> Metrics:
    """Measure once.

    Raises:
        SampleFailed: The server, the load generator or the benchmark ended badly.
    """
    others = OtherWork([settings.server_core, settings.client_core])
    match case:
        case EchoCase():
            metrics = echo(case, loop, settings, programs)
        case ServiceCase():
            metrics = service(case, loop, settings, programs)
        case ClientCase():
            metrics = client(case, loop, settings, programs)
        case IdleCase():
            metrics = idle(case, loop, settings)
        case MicroCase():
            metrics = micro(case, loop, settings)
    return {**metrics, "others_busy": others.share()}


def echo(case: EchoCase, loop: str, settings: Settings, programs: Programs) -> Metrics:
    """Server on one core, load generator on the other. Keys: see the README's table of figures."""
    with tempfile.TemporaryDirectory(prefix="echo-") as folder:
        place = ["--unix", str(Path(folder) / "echo")] if case.unix else ["--tls"] if case.tls else []
        if loop == loops.LIMIT:
            command = [str(programs.c_tls_echo if case.tls else programs.c_echo)]
        else:
            command = [
                sys.executable,
                str(BENCHMARKS / "net" / "echo_server.py"),
                "--loop",
                loop,
                "--api",
                case.api,
            ]
        command += ["--core", str(settings.server_core), *place]
        with running(command) as server:
            result = drive(case, server, settings, programs)
        whole_life_s = server.user_s + server.system_s
        if result["server_cpu_s"] > whole_life_s + CLOCK_SLACK_S:
            raise SampleFailed(
                f"the server's process clock ({result['server_cpu_s']:.3f} s) and its resource usage "
                f"({whole_life_s:.3f} s) contradict each other"
            )
    return loadgen_figures(case, result, server)


def loadgen_figures(case: EchoCase | ServiceCase, result: Metrics, server: "Server") -> Metrics:
    if result["errors"] or not result["messages"]:
        raise SampleFailed(f"{result['errors']:.0f} of {case.connections} connections were lost")
    return {
        "messages_per_s": result["messages_per_s"],
        "cpu_us": result["server_cpu_s"] / result["messages"] * 1e6,
        "p50_us": result["p50_us"],
        "p99_us": result["p99_us"],
        "p999_us": result["p999_us"],
        "max_us": result["max_us"],
        "server_busy": result["server_cpu_s"] / result["seconds"],
        "client_busy": result["client_cpu_s"] / result["seconds"],
        "max_rss_kib": server.max_rss_kib,
    }


def service(case: ServiceCase, loop: str, settings: Settings, programs: Programs) -> Metrics:
    """A web service on one core, load generator on the other. Keys: as for an echo."""
    with running(web_service(loop, case.framework, settings.server_core)) as server:
        result = drive(case, server, settings, programs)
    return loadgen_figures(case, result, server)


def web_service(loop: str, framework: str, core: int) -> list[str]:
    command = [sys.executable, str(BENCHMARKS / "apps" / "web_service.py")]
    return [*command, "--loop", loop, "--framework", framework, "--core", str(core)]


def client(case: ClientCase, loop: str, settings: Settings, programs: Programs) -> Metrics:
    """A client on the server's usual core, its server on the other."""
    command = [sys.executable, str(BENCHMARKS / "apps" / "clients.py"), "--loop", loop, "--client", case.client]
    command += ["--tasks", str(case.tasks), "--core", str(settings.server_core)]
    command += ["--warmup", str(settings.warmup_s), "--seconds", str(settings.seconds)]
    if case.client == "asyncpg":
        try:
            address = programs.services.postgresql(settings.client_core)
        except ServiceMissing as problem:
            raise SampleFailed(str(problem)) from None
        result = run_client([*command, "--target", address], settings)
    else:
        # The same server for every contestant.
        with running(web_service(SERVER_OF_CLIENTS, "aiohttp", settings.client_core)) as server:
            result = run_client([*command, "--target", f"http://{server.target[1]}/item/"], settings)
    return {
        "messages_per_s": result["requests"] / result["seconds"],
        "cpu_us": result["cpu_s"] / result["requests"] * 1e6,
    }


def run_client(command: list[str], settings: Settings) -> Metrics:
    return run_for_json(command, limit_s=settings.warmup_s + settings.seconds + 30)


def drive(case: EchoCase | ServiceCase, server: "Server", settings: Settings, programs: Programs) -> Metrics:
    try:
        program = programs.tls_client if isinstance(case, EchoCase) and case.tls else programs.loadgen
    except BuildFailed as problem:
        raise SampleFailed(str(problem)) from None
    command = [str(program), *server.target, "--cpu-of", str(server.pid)]
    command += ["--connections", str(case.connections)]
    windows = case.windows if isinstance(case, EchoCase) else 1
    lengths_s = settings.warmup_s * windows, settings.seconds * windows
    command += ["--warmup", str(lengths_s[0]), "--seconds", str(lengths_s[1])]
    command += ["--core", str(settings.client_core)]
    if isinstance(case, ServiceCase):
        command += ["--http", "/item/"]
    else:
        command += ["--size", str(case.size_bytes)]
        if case.then_bytes is not None:
            command += ["--then", str(case.then_bytes)]
        if case.lines:
            command.append("--lines")
        if case.handshakes:
            command.append("--handshakes")
    return run_for_json(command, limit_s=sum(lengths_s) + 30)


def micro(case: MicroCase, loop: str, settings: Settings) -> Metrics:
    cores = [settings.server_core] + ([settings.client_core] if case.threaded else [])
    command = [
        sys.executable,
        str(BENCHMARKS / "micro" / "scheduling.py"),
        "--loop",
        loop,
        "--benchmark",
        case.name,
    ]
    command += ["--seconds", str(settings.micro_seconds), "--repeats", str(settings.micro_repeats)]
    command += ["--cores", ",".join(map(str, cores))]
    figures = run_for_json(command, limit_s=60 + 50 * expected_seconds(case, settings))
    figure, cpu = figures[case.unit], {"cpu_ns": figures["cpu_ns"]}
    return {"ns": figure, "ops_per_s": 1e9 / figure, **cpu} if case.unit == "ns" else {case.unit: figure}


def idle(case: IdleCase, loop: str, settings: Settings) -> Metrics:
    command = [sys.executable, str(BENCHMARKS / "net" / "idle_connections.py"), "--loop", loop]
    command += ["--connections", str(case.connections), "--core", str(settings.server_core)]
    command += ["--half-open"] if case.half_open else ["--tls"] if case.tls else []
    figures = run_for_json(command, limit_s=120)
    return {name: figures[name] for name in ("rss_bytes", "blocks", "idle_cpu_us_per_s")}


@dataclass
class Server:
    """A server process; what it used is known when it has ended."""

    pid: int
    #: Options of the load generator that lead to it.
    target: tuple[str, str]
    user_s: float = 0.0
    system_s: float = 0.0
    max_rss_kib: int = 0


@contextmanager
def running(command: list[str]) -> Iterator[Server]:
    """Start a server, wait for its address, end it afterwards. What it wrote to stderr explains a failure."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment())
        server = Server(process.pid, ("", ""))
        try:
            server.target = announced_target(process)
            yield server
        except SampleFailed as failure:
            raise SampleFailed(with_last_line(str(failure), errors.fileno())) from None
        finally:
            if process.stdout is not None:
                process.stdout.close()
            # A server that ended by itself has been waited for, and leaves no account.
            if process.returncode is None:
                process.kill()
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                server.user_s, server.system_s = usage.ru_utime, usage.ru_stime
                server.max_rss_kib = usage.ru_maxrss


def announced_target(process: subprocess.Popen[bytes]) -> tuple[str, str]:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], START_S)
    line = process.stdout.readline().decode() if ready else ""
    kind, _, value = line.strip().partition(" ")
    if kind == "port":
        return ("--tcp", f"127.0.0.1:{value}")
    if kind == "path":
        return ("--unix", value)
    raise SampleFailed("the server did not start" if ready else f"the server was not ready after {START_S:.0f} s")


def run_for_json(command: list[str], limit_s: float) -> Metrics:
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=limit_s, env=environment(), check=False
        )
    except subprocess.TimeoutExpired:
        raise SampleFailed(f"{Path(command[0]).name} was not done after {limit_s:.0f} s") from None
    if result.returncode != 0:
        problem = result.stderr.strip().splitlines()
        ending = f"signal {-result.returncode}" if result.returncode < 0 else f"status {result.returncode}"
        raise SampleFailed(problem[-1] if problem else f"{Path(command[0]).name} ended with {ending}")
    figures: Metrics = json.loads(result.stdout)
    return figures


def with_last_line(sentence: str, errors: int) -> str:
    os.lseek(errors, 0, os.SEEK_SET)
    lines = os.read(errors, 1 << 20).decode(errors="replace").strip().splitlines()
    return f"{sentence}; the server's last words: {lines[-1]}" if lines else sentence


class OtherWork:
    """How much of some cores went to other processes, since this was made.

    Counts time in user mode (and time that a hypervisor gave away): that of the cores minus that of this
    process and its ended children. System time is left out, because kernels differ in where they book the
    handling of packets.
    """

    def __init__(self, cores: list[int]) -> None:
        self.names = {f"cpu{core}" for core in cores}
        self.begin = time.monotonic()
        self.begin_total_s, self.begin_own_s = self.total_s(), self.own_s()

    def share(self) -> float:
        """From 0 to 1, of all the cores together."""
        others_s = (self.total_s() - self.begin_total_s) - (self.own_s() - self.begin_own_s)
        return max(0.0, others_s / (time.monotonic() - self.begin) / len(self.names))

    def total_s(self) -> float:
        total = 0
        for line in Path("/proc/stat").read_text().splitlines():
            name, *ticks = line.split()
            if name in self.names:
                user, nice, *_ = map(int, ticks)
                total += user + nice + int(ticks[7])  # the eighth is stolen time
        return total / os.sysconf("SC_CLK_TCK")

    def own_s(self) -> float:
        who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        return sum(resource.getrusage(which).ru_utime for which in who)


def environment() -> dict[str, str]:
    """The caller's, without the variables that change how Python runs (debug modes, allocators, tracing)."""
    kept = {"PYTHONPATH", "PYTHONHOME", "PYTHON_GIL"}
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON") or name in kept}
