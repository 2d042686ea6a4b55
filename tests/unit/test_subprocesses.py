"""Subprocesses: pipes, arguments, exit statuses, signals, cancellation, and cleaning up."""

import asyncio
import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import ferrio

from .loops import LIMIT_S, ferrio_only, new_loop, open_descriptors, run, run_until

PIPE = asyncio.subprocess.PIPE
has_watchers = pytest.mark.skipif(sys.version_info >= (3, 14), reason="child watchers are gone since 3.14")


@pytest.fixture(autouse=True)
def _a_watcher_for_the_control_run(loop: Any) -> Any:
    """Up to 3.11 asyncio's watcher wants to have been asked for; and no child may be left."""
    yield
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def python(*lines: str) -> list[str]:
    return [sys.executable, "-c", "\n".join(lines)]


async def output_of(*command: str, **options: Any) -> tuple[int | None, bytes]:
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, **options)
    output, _ = await process.communicate()
    return process.returncode, output


# --- pipes -----------------------------------------------------------------------------------------------------


def test_the_child_has_real_pipes(loop: Any) -> None:
    program = python(
        "import os, stat",
        "print(*(stat.S_ISFIFO(os.fstat(fd).st_mode) for fd in (0, 1, 2)))",
        "print(open('/dev/stdin').read())",
    )

    async def main() -> bytes:
        process = await asyncio.create_subprocess_exec(*program, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        output, errors = await process.communicate(b"opened by name")
        assert errors == b""
        return output

    assert run(loop, main()) == b"True True True\nopened by name\n"


@pytest.mark.parametrize("size", [0, 1, 65_536, 1_000_000])
def test_what_goes_in_comes_out(loop: Any, size: int) -> None:
    data = os.urandom(size)

    async def main() -> tuple[int | None, bytes]:
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        output, _ = await process.communicate(data)
        return process.returncode, output

    assert run(loop, main()) == (0, data)


def test_standard_error_can_go_the_way_of_standard_output(loop: Any) -> None:
    async def main() -> bytes:
        process = await asyncio.create_subprocess_shell(
            "echo out; echo err >&2", stdout=PIPE, stderr=asyncio.subprocess.STDOUT
        )
        return (await process.communicate())[0]

    assert run(loop, main()) == b"out\nerr\n"


def test_output_is_complete_when_the_child_ends_long_before_its_pipe(loop: Any) -> None:
    # A grandchild keeps the pipe and writes after the child's end.
    script = "(sleep 0.05; printf late) & printf early"

    async def main() -> tuple[int | None, bytes]:
        process = await asyncio.create_subprocess_shell(script, stdout=PIPE)
        assert process.stdout is not None
        output = await process.stdout.read()
        return await process.wait(), output

    assert run(loop, main()) == (0, b"earlylate")


def test_output_is_complete_however_late_it_is_read(loop: Any) -> None:
    amount = 300_000

    async def main() -> int:
        program = python("import sys", f"sys.stdout.write('x' * {amount})")
        process = await asyncio.create_subprocess_exec(*program, stdout=PIPE, limit=1024)
        assert process.stdout is not None
        total = 0
        while block := await process.stdout.read(1000):
            total += len(block)
            await asyncio.sleep(0)
        assert await process.wait() == 0
        return total

    assert run(loop, main()) == amount


def test_lines_go_back_and_forth(loop: Any) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(200):
            process.stdin.write(b"%d\n" % number)
            assert await process.stdout.readline() == b"%d\n" % number
        process.stdin.close()
        await process.stdin.wait_closed()
        assert await process.wait() == 0

    run(loop, main())


def test_a_child_that_reads_nothing_breaks_the_pipe_quietly(loop: Any) -> None:
    async def main() -> tuple[int | None, bytes]:
        process = await asyncio.create_subprocess_exec("true", stdin=PIPE, stdout=PIPE)
        output, _ = await process.communicate(bytes(1_000_000))
        return process.returncode, output

    assert run(loop, main()) == (0, b"")


# --- arguments -------------------------------------------------------------------------------------------------


def test_the_arguments_of_popen_reach_it(loop: Any, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    program = python(
        "import os, json, sys",
        "mask = os.umask(0)",
        "os.write(int(sys.argv[1]), b'passed')",
        "facts = [os.getcwd(), os.environ.get('FACT'), mask, os.getsid(0) == os.getpid(), os.environ.get('PRE')]",
        "print(json.dumps(facts))",
    )
    try:
        returncode, output = run(
            loop,
            output_of(
                *program,
                str(writing),
                cwd=tmp_path,
                env={**os.environ, "FACT": "yes"},
                umask=0o27,
                start_new_session=True,
                pass_fds=[writing],
                preexec_fn=lambda: os.close(0),
            ),
        )
        assert returncode == 0
        assert os.read(reading, 100) == b"passed"
        assert eval(output.replace(b"true", b"True").replace(b"null", b"None")) == [
            str(tmp_path),
            "yes",
            0o27,
            True,
            None,
        ]
    finally:
        os.close(reading)
        os.close(writing)


def test_groups_and_users_reach_popen(loop: Any) -> None:
    script = "id -u; id -g; cut -d' ' -f5 /proc/self/stat; echo $$"
    options: dict[str, Any] = {"user": os.getuid(), "group": os.getgid(), "process_group": 0}
    if os.getuid() == 0:
        options |= {"user": 12345, "group": 12346, "extra_groups": [12346]}
    returncode, output = run(loop, output_of("/bin/sh", "-c", script, **options))
    assert returncode == 0
    user, group, process_group, pid = map(int, output.split())
    assert (user, group) == (options["user"], options["group"])
    assert process_group == pid


@pytest.mark.parametrize("program", ["true", b"true", Path("/bin/true")])
def test_a_program_is_named_by_text_bytes_or_a_path(loop: Any, program: Any) -> None:
    assert run(loop, output_of(program)) == (0, b"")


@pytest.mark.parametrize("command", ["exit 3", b"exit 3"])
def test_a_shell_command_is_text_or_bytes(loop: Any, command: Any) -> None:
    async def main() -> int:
        return await (await asyncio.create_subprocess_shell(command)).wait()

    assert run(loop, main()) == 3


def test_a_program_that_does_not_exist_is_an_error_and_leaves_nothing(loop: Any) -> None:
    async def main() -> None:
        await asyncio.create_subprocess_exec("/no/such/program", stdin=PIPE, stdout=PIPE, stderr=PIPE)

    for _ in range(3):
        with pytest.raises(FileNotFoundError) as caught:
            run(loop, main())
        assert caught.value.filename == "/no/such/program"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"universal_newlines": True}, "universal_newlines must be False"),
        ({"shell": True}, "shell must be False"),
        ({"bufsize": 4096}, "bufsize must be 0"),
        ({"text": True}, "text must be False"),
        ({"encoding": "utf-8"}, "encoding must be None"),
        ({"errors": "strict"}, "errors must be None"),
    ],
)
def test_what_asyncio_does_not_support_is_refused_in_its_words(
    loop: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run(loop, loop.subprocess_exec(asyncio.SubprocessProtocol, "true", **options))


# --- ends ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("script", "returncode"), [("exit 0", 0), ("exit 255", 255), ("kill -9 $$", -9)])
def test_the_status_is_the_exit_code_or_the_signal(loop: Any, script: str, returncode: int) -> None:
    async def main() -> tuple[int, int | None]:
        process = await asyncio.create_subprocess_shell(f"read line; {script}", stdin=PIPE)
        assert process.returncode is None
        assert process.stdin is not None
        process.stdin.close()
        return await process.wait(), process.returncode

    assert run(loop, main()) == (returncode, returncode)


def test_several_tasks_wait_for_one_child(loop: Any) -> None:
    async def main() -> list[int]:
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE)
        waiting = [asyncio.create_task(process.wait()) for _ in range(5)]
        await asyncio.sleep(0)
        waiting[2].cancel()
        process.terminate()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(ended.pop(2), asyncio.CancelledError)
        assert await process.wait() == -signal.SIGTERM
        return ended  # type: ignore[return-value]

    assert run(loop, main()) == [-signal.SIGTERM] * 4


def test_a_child_that_has_ended_takes_no_signal(loop: Any) -> None:
    async def main() -> list[str]:
        process = await asyncio.create_subprocess_exec("true")
        await process.wait()
        # connection_lost may be still to come on newer versions.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        answers = []
        for act in (process.kill, process.terminate, lambda: process.send_signal(signal.SIGUSR1)):
            with pytest.raises(ProcessLookupError) as caught:
                act()
            answers.append(repr(caught.value))
        return answers

    assert run(loop, main()) == ["ProcessLookupError()"] * 3


@ferrio_only
def test_no_signal_is_sent_to_a_number_that_is_free_again(loop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []

    class Protocol(asyncio.SubprocessProtocol):
        def process_exited(self) -> None:
            transport.send_signal(signal.SIGUSR1)

    async def main() -> None:
        nonlocal transport
        transport, _ = await loop.subprocess_exec(Protocol, "true", stdin=None, stdout=None, stderr=None)
        monkeypatch.setattr(os, "kill", lambda *call: sent.append(call))
        callback = loop._child_watcher_callback

        def ended(*call: Any) -> None:
            # The child has been waited for; its transport has not heard of it.
            transport.kill()
            callback(*call)

        monkeypatch.setattr(loop, "_child_watcher_callback", ended)
        await transport._wait()

    transport: Any = None
    run(loop, main())
    run_until(loop, lambda: transport._proc is None)
    assert sent == []


def test_closing_the_transport_kills_the_child(loop: Any) -> None:
    async def main() -> int | None:
        transport, _ = await loop.subprocess_exec(asyncio.SubprocessProtocol, "cat")
        transport.close()
        await transport._wait()
        assert transport.is_closing()
        return transport.get_returncode()  # type: ignore[no-any-return]

    assert run(loop, main()) == -signal.SIGKILL


@ferrio_only
def test_a_status_that_popen_collected_is_not_lost(loop: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> int | None:
        transport, _ = await loop.subprocess_exec(
            asyncio.SubprocessProtocol, "sh", "-c", "exit 7", stdin=None, stdout=None, stderr=None
        )
        transport.get_extra_info("subprocess").wait()
        await transport._wait()
        return transport.get_returncode()  # type: ignore[no-any-return]

    assert run(loop, main()) == 7
    assert caplog.records == []


def test_a_status_that_a_stranger_collected_is_reported_as_255(loop: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> int:
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE)
        process.kill()
        os.waitpid(process.pid, 0)
        return await process.wait()

    if sys.version_info < (3, 12) and not isinstance(loop, ferrio.Loop):
        pytest.skip("asyncio's thread waits for the child at the same time")
    assert run(loop, main()) == 255
    assert caplog.records[0].getMessage().endswith("will report returncode 255")


@ferrio_only
def test_a_status_that_cannot_be_had_leaves_no_descriptor(
    loop: Any, monkeypatch: pytest.MonkeyPatch, contexts: list[dict[str, Any]]
) -> None:
    def fail(*_: Any) -> Any:
        raise OSError("unexpected")

    async def main() -> int:
        before = set(open_descriptors())
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE)
        with monkeypatch.context() as patched:
            patched.setattr(os, "waitid", fail)
            process.kill()
            while not contexts:
                await asyncio.sleep(0.001)
        os.waitpid(process.pid, 0)
        process._transport._process_exited(0)  # type: ignore[attr-defined]
        await process.wait()
        assert set(open_descriptors()) <= before
        return len(contexts)

    assert run(loop, main()) == 1
    assert str(contexts[0]["exception"]) == "unexpected"


@ferrio_only
def test_a_protocol_hears_of_the_end_in_asyncios_order(loop: Any) -> None:
    heard: list[Any] = []

    class Protocol(asyncio.SubprocessProtocol):
        def connection_made(self, transport: Any) -> None:
            heard.append("made")

        def pipe_data_received(self, fd: int, data: bytes) -> None:
            heard.append((fd, data))

        def pipe_connection_lost(self, fd: int, exc: BaseException | None) -> None:
            heard.append(("lost", fd, exc))

        def process_exited(self) -> None:
            heard.append("exited")

        def connection_lost(self, exc: BaseException | None) -> None:
            heard.append(("lost", exc))

    run(loop, loop.subprocess_exec(Protocol, "echo", "x", stdin=None, stderr=None))
    run_until(loop, lambda: ("lost", None) in heard)
    assert (heard[0], heard[-1]) == ("made", ("lost", None))
    # The end of the child may be heard before its output, between the two, or after them.
    heard.remove("exited")
    assert heard[1:-1] == [(1, b"x\n"), ("lost", 1, None)]


# --- cancellation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", range(12))
def test_communicate_can_be_cancelled_at_any_point(loop: Any, steps: int) -> None:
    before = open_descriptors()

    async def main() -> None:
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE, stderr=PIPE)
        talking = asyncio.create_task(process.communicate(bytes(200_000)))
        for _ in range(steps):
            await asyncio.sleep(0)
        talking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await talking
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        # Unread output would keep the pipes open, and older versions' wait() waits for these.
        process._transport.close()  # type: ignore[attr-defined]
        await process.wait()

    run(loop, main())
    run_until(loop, lambda: {fd for fd, what in open_descriptors().items() if "[event" not in what} <= set(before))


@pytest.mark.parametrize("steps", range(8))
def test_the_start_can_be_cancelled_at_any_point(loop: Any, steps: int) -> None:
    async def main() -> None:
        starting = asyncio.create_task(asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE, stderr=PIPE))
        for _ in range(steps):
            await asyncio.sleep(0)
        starting.cancel()
        try:
            process = await starting
        except asyncio.CancelledError:
            return
        process.kill()
        await process.wait()

    before = set(open_descriptors())
    run(loop, main())
    run_until(loop, lambda: {fd for fd, what in open_descriptors().items() if "[event" not in what} <= before)


# --- many, threads, watchers -----------------------------------------------------------------------------------


@ferrio_only
def test_nothing_is_done_to_sigchld_and_no_thread_is_started(loop: Any) -> None:
    before = signal.getsignal(signal.SIGCHLD), threading.active_count()
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    seen: list[Any] = []

    async def main() -> int:
        process = await asyncio.create_subprocess_exec("true")
        seen.append((signal.getsignal(signal.SIGCHLD), threading.active_count()))
        return await process.wait()

    assert run(loop, main()) == 0
    assert seen == [before]


def test_a_loop_of_another_thread_has_subprocesses(loop: Any) -> None:
    results: list[Any] = []

    def work() -> None:
        other = new_loop()
        try:
            results.append(other.run_until_complete(output_of("echo", "from a thread")))
        finally:
            other.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    assert results == [(0, b"from a thread\n")] * 4


@ferrio_only
@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EPERM, errno.EMFILE])
def test_without_pidfds_a_thread_waits(loop: Any, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    def refuse(*_: Any) -> int:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "pidfd_open", refuse)
    assert run(loop, output_of("echo", "x")) == (0, b"x\n")
    run_until(loop, lambda: not [thread for thread in threading.enumerate() if "waitpid" in thread.name])


@ferrio_only
def test_without_pidfds_and_threads_no_child_is_left(loop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    def refuse_thread(*_: Any) -> Any:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    monkeypatch.setattr(threading.Thread, "start", refuse_thread)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        run(loop, output_of("cat", stdin=PIPE))


@ferrio_only
@has_watchers
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_watcher_that_the_program_has_set_is_used(loop: Any) -> None:
    calls: list[int] = []

    class Watcher(asyncio.ThreadedChildWatcher):  # type: ignore[name-defined,misc]
        def add_child_handler(self, pid: int, callback: Any, *args: Any) -> None:
            calls.append(pid)
            super().add_child_handler(pid, callback, *args)

    asyncio.set_child_watcher(Watcher())  # type: ignore[attr-defined]
    try:
        assert run(loop, output_of("echo", "x")) == (0, b"x\n")
        assert len(calls) == 1
        run_until(loop, lambda: not [thread for thread in threading.enumerate() if "waitpid" in thread.name])
    finally:
        asyncio.set_child_watcher(None)  # type: ignore[attr-defined]
    assert run(loop, output_of("echo", "x")) == (0, b"x\n")
    assert len(calls) == 1


@ferrio_only
def test_a_loop_that_closes_beside_running_children_keeps_no_descriptor(loop: Any) -> None:
    before = set(open_descriptors())

    async def main() -> Any:
        transport, _ = await loop.subprocess_exec(asyncio.SubprocessProtocol, "cat", stdin=None, stdout=None)
        return transport

    transport = run(loop, main())
    process = transport.get_extra_info("subprocess")
    transport.get_pipe_transport(2).close()
    run_until(loop, lambda: transport.get_pipe_transport(2)._pipe is None)
    loop.close()
    assert set(open_descriptors()) <= before
    process.kill()
    process.wait()
    transport._closed = True


@pytest.mark.timeout(60)
def test_five_hundred_children_at_once(loop: Any) -> None:
    async def one(number: int, gate: asyncio.Semaphore) -> tuple[int | None, bytes]:
        async with gate:
            script = f"read x; echo $x; exit {number % 200}"
            process = await asyncio.create_subprocess_shell(script, stdin=PIPE, stdout=PIPE)
        started.append(process.pid)
        await everyone.wait()
        output, _ = await process.communicate(b"%d\n" % number)
        return process.returncode, output

    started: list[int] = []
    count = 500
    limit = subprocess.run(["sh", "-c", "ulimit -n"], capture_output=True, check=True).stdout
    if limit.strip() != b"unlimited" and int(limit) < 4 * count:
        count = int(limit) // 5

    async def main() -> list[Any]:
        gate = asyncio.Semaphore(8)
        tasks = [asyncio.create_task(one(number, gate)) for number in range(count)]
        while len(started) < count:
            await asyncio.sleep(0.01)
        everyone.set()
        return await asyncio.gather(*tasks)

    everyone = asyncio.Event()
    before = set(open_descriptors())
    results = loop.run_until_complete(asyncio.wait_for(main(), 50))
    assert results == [(number % 200, b"%d\n" % number) for number in range(count)]
    assert {fd for fd, what in open_descriptors().items() if "[event" not in what} <= before
    end = time.monotonic() + LIMIT_S
    while threading.active_count() > 1 and time.monotonic() < end:
        time.sleep(0.001)
    for pid in started:
        assert not stat_of(pid)


def stat_of(pid: int) -> bool:
    """Whether process *pid* exists, perhaps as a zombie, and is a child of this process."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return int(status.rpartition(")")[2].split()[1]) == os.getpid()
