"""What the doctor sees without trying the loop: interpreter, kernel, native parts, limits."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import platform
import resource
import select
import ssl
import sys
import sysconfig
from pathlib import Path

from .. import _combining, _ferrio, _locks, _namespace, _queues, _sleeping, _streams, _task_groups, _timeouts
from .finding import Finding, State

#: Descriptors that a process may open before a server of some size has to be told to allow more.
FEW_DESCRIPTORS = 4096
#: Connections that the kernel holds for a listener until they are accepted.
SHORT_BACKLOG = 1024
#: The number of `epoll_pwait2`, the same on every architecture.
EPOLL_PWAIT2 = 441


def describes_another_build() -> bool:
    """Whether `sysconfig` describes a shared library that this executable does not use, as on Debian and Ubuntu."""
    return bool(sysconfig.get_config_var("Py_ENABLE_SHARED")) and "libpython" not in Path("/proc/self/maps").read_text()


def interpreter() -> list[Finding]:
    build = sysconfig.get_config_var("CONFIG_ARGS") or ""
    if hasattr(sys, "gettotalrefcount"):
        kind, advice = "a debug build", "its speed says nothing about others"
    elif "--enable-optimizations" in build or "--with-lto" in build:
        kind, advice = "an optimised build", ""
    elif describes_another_build():
        kind, advice = "a distribution's build", ""
    else:
        kind, advice = "built without optimisation", "distributions' and python.org's builds are up to a third faster"
    version = f"{platform.python_implementation()} {platform.python_version()}, {kind}"
    found = [
        Finding("Ferrio", f"{_ferrio.__version__} in {Path(__file__).parents[1]}"),
        Finding("interpreter", version, State.ADVICE if advice else State.FINE, advice),
        Finding("executable", sys.executable),
    ]
    if sys.flags.dev_mode or os.environ.get("PYTHONASYNCIODEBUG"):
        advice = "much runs in asyncio's own code then; unset PYTHONASYNCIODEBUG and -X dev in production"
        found.append(Finding("debug mode", "on for every loop", State.ADVICE, advice))
    return found


def kernel() -> list[Finding]:
    libc = " ".join(platform.libc_ver()).strip() or "not glibc"
    return [
        Finding("kernel", f"Linux {platform.release()}, {platform.machine()}, libc: {libc}"),
        _pidfd(),
        _short_waits(),
    ]


def _pidfd() -> Finding:
    what = "ends of children"
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError) as error:
        advice = "Linux 5.4 and newer have it, unless a sandbox denies it"
        return Finding(what, f"heard by a thread for each: no pidfd ({error})", State.ADVICE, advice)
    return Finding(what, "heard through pidfd")


def _short_waits() -> Finding:
    what = "timers"
    libc = ctypes.CDLL(None, use_errno=True)
    with select.epoll() as epoll:
        room = ctypes.create_string_buffer(16)
        now = (ctypes.c_int64 * 2)(0, 0)
        arguments = (ctypes.c_long(epoll.fileno()), room, ctypes.c_long(1), now, None, ctypes.c_long(0))
        refused = libc.syscall(ctypes.c_long(EPOLL_PWAIT2), *arguments) < 0
    if refused:
        why = errno.errorcode.get(ctypes.get_errno(), "?")
        advice = "Linux 5.11 and newer have it, unless a sandbox denies it"
        return Finding(what, f"to the millisecond, rounded up: no epoll_pwait2 ({why})", State.ADVICE, advice)
    return Finding(what, "to the nanosecond: epoll_pwait2")


def native() -> list[Finding]:
    return [
        Finding("the loop", "native: scheduling, timers, polling, socket, datagram and pipe transports"),
        _tasks(),
        _primitives(),
        Finding("TLS", f"asyncio's SSLProtocol over native transports, {ssl.OPENSSL_VERSION}{_forced_tls()}"),
        Finding("names", "asyncio's: the system's resolver in a thread; numeric addresses at once"),
    ]


def _forced_tls() -> str:
    forced = os.environ.get("FERRIO_TLS")
    return f", engine forced by FERRIO_TLS={forced}" if forced else ""


def _tasks() -> Finding:
    what = "tasks and futures"
    if not _ferrio.HAS_NATIVE_TASKS:
        advice = "look for a newer release of Ferrio"
        return Finding(what, "asyncio's own: this interpreter lays them out otherwise", State.ADVICE, advice)
    if os.environ.get("FERRIO_NATIVE_TASKS") == "0":
        return Finding(what, "asyncio's own: FERRIO_NATIVE_TASKS=0", State.ADVICE, "unset it for native ones")
    return Finding(what, "native, in asyncio's fields")


def _primitives() -> Finding:
    rooms = (_sleeping, _combining, _locks, _queues, _timeouts, _task_groups, _streams)
    names = [name for room in rooms for name in room.__all__]
    ours = {primitive.name for primitive in _namespace.PRIMITIVES}
    theirs = [name for name in names if name not in ours]
    rest = f"; asyncio's own: {', '.join(theirs)}, whose rules are others in this release" if theirs else ""
    return Finding("ferrio.asyncio", f"{len(ours)} native names{rest}")


def limits() -> list[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = 0 <= soft < FEW_DESCRIPTORS
    advice = f"a connection takes one: ulimit -n {hard if hard > soft else 65536}; LimitNOFILE= in a systemd unit"
    found = [
        Finding(
            "open descriptors (ulimit -n)",
            "unlimited" if soft < 0 else f"{soft:,} (may be raised to {'any number' if hard < 0 else f'{hard:,}'})",
            State.ADVICE if few else State.FINE,
            advice if few else "",
        )
    ]
    backlog = _number("/proc/sys/net/core/somaxconn")
    if backlog is not None:
        short = backlog < SHORT_BACKLOG
        advice = "bursts of connections are refused beyond it: sysctl net.core.somaxconn=4096" if short else ""
        state = State.ADVICE if short else State.FINE
        found.append(Finding("backlog of listeners (somaxconn)", f"{backlog:,}", state, advice))
    processors = len(os.sched_getaffinity(0))
    found.append(Finding("processors", f"{processors}; a loop uses one"))
    policy = _policy()
    if policy is not None:
        found.append(policy)
    return found


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None


def _policy() -> Finding | None:
    # Asked for without making one, and without the warning that asking gives from 3.14 on.
    policy = getattr(asyncio.events, "_event_loop_policy", None)
    if policy is None:
        return None
    advice = "asyncio.run takes its loops from this policy, which was set at the start of this interpreter"
    return Finding("event loop policy", type(policy).__module__, State.ADVICE, advice)
