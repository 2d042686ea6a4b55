"""What is called: templates of expressions, the methods of each native type, and the literal arguments.

An expression is written once, as text. The text is compiled when the fuzzer starts, and a statement is made of
expressions whose texts are known: what runs and what a program prints cannot differ.

A template names the kinds of its arguments in braces. `{any}` is any variable or literal, `{x}` a variable that holds
a native object, `{slot}` the number of a variable, `{type}` a native type.
"""

import asyncio
import contextvars
import re
import socket
import string
from collections.abc import Callable
from typing import Any

from fuzz import values

NAMES = vars(values)

#: Literals of each kind. A kind that is not here is a variable of that kind, or `any`.
LITERALS = {
    "any": """
        None | True | False | 0 | 1 | 2 | 3 | -1 | 7 | 1000 | 2**31 - 1 | 2**31 | -2**31 | 2**63 - 1 | 2**64 | -2**63
        10**30
        0.0 | 0.001 | -1.0 | 1e300 | float('nan') | float('inf') | -float('inf')
        '' | 'x' | 'socket' | 'peername' | 'a' * 1000 | '\\ud800' | 'name\\0' | b'' | b'x' | b'bytes' * 1000 | ()
        (1, 2)
        [] | {} | set() | {'context': None} | ... | object() | Hostile | ValueError | ValueError('an error')
        asyncio.CancelledError() | StopIteration(3) | KeyboardInterrupt() | asyncio.TimeoutError | OddError('odd')
        OSError(9, 'bad')
        StopAsyncIteration() | GeneratorExit | RuntimeError | SystemExit | asyncio.InvalidStateError
        bytearray(b'abc') | memoryview(bytearray(9)) | memoryview(b'abcd')[::2] | OddBytes(b'odd') | OddBuffer(100)
        OddStr('x') | OddInt(5) | OddFloat(0.5) | OddTuple((1, 2)) | OddMeta | OddClass | type | int | range(3)
        iter([1, 2])
        nothing | raising | interrupting | exiting | signalling | keeping | closing | stopping
        Open('raise') | Open('drop', 3) | Open('close', nothing) | Open('turn', None)
        Lying(asyncio.Handle) | Lying(asyncio.Future) | Lying(asyncio.Task) | Lying(socket.socket) | Lying(bytes)
        Lying(ferrio.Loop) | Lying(str) | Lying(int) | Lying(asyncio.TimerHandle) | Lying(contextvars.Context)
        DropsLater('close') | DropsLater('turn') | DropsLater('soon') | DropsLater('raise') | DropsLater('collect')
        ForeignFuture(v[1]) | dead_reference() | cycle() | iter([]) | plain_generator() | generating() | work() | work
        contextvars.copy_context() | asyncio | asyncio.Future | asyncio.Protocol | Protocol() | asyncio.events
        types.SimpleNamespace() | functools.partial(nothing, 1) | lambda *a: a | slice(1, 2) | classmethod(nothing)
        NotImplemented
        Hostile('raise') | Hostile('cancelled') | Hostile('interrupt') | Hostile('exit') | Hostile('cancel', 1)
        Hostile('close', 3)
        Hostile('drop', True) | Hostile('turn', 0) | Hostile('soon', 2) | Hostile('resize', 5) | Hostile('abort')
        Hostile('write', 1)
        Hostile('throw', iter([None])) | Hostile('send', iter([])) | Hostile('init', 3) | Hostile('resolve', v[2])
        Hostile('collect', '')
        Hostile('signal', 1) | Hostile('nothing', -1) | Hostile('drop', v[3]) | Hostile('close', v[4])
        Hostile('nothing', 1 << 70)
    """,
    "number": """
        0 | 1 | 2 | 0.001 | 0.0 | -1 | 0.002 | 5 | 64 | 65536 | float('nan') | float('inf') | 1e300 | 2**70
        OddInt(3) | OddFloat(0.01) | None
        True | 10**400 | -2**63 | 1e18 | Hostile('drop', 1) | Hostile('close', 0.01) | Hostile('raise') | 'x'
        1 << 31 | 2**31 - 1
    """,
    "delay": "0 | 0 | 0.001 | 0.0005 | -1 | None | 10 | float('nan') | 1e300 | OddFloat(0.001) | OddInt(0)",
    "count": "0 | 1 | 2 | 3 | 100 | 65536 | 300000 | -1 | 2**24 | OddInt(1) | Hostile('drop', 10)",
    "callback": """
        nothing | raising | keeping | closing | stopping | interrupting | exiting | acting('drop') | acting('cancel')
        acting('turn')
        acting('abort') | acting('write') | acting('throw') | acting('send') | acting('init') | acting('resolve')
        acting('collect')
        acting('close') | Hostile('drop') | Hostile('raise') | functools.partial(nothing, v) | acting('soon')
    """,
    "bytes": """
        b'' | b'x' | b'bytes' * 100 | bytes(100_000) | bytes(1_000_000) | bytearray(300) | bytearray(200_000)
        memoryview(bytearray(500))
        memoryview(b'abcdef')[::2] | OddBytes(b'odd') | OddBuffer(1000) | Hostile('drop', b'x')
        Hostile('close', memoryview(b'x')) | 'x'
        memoryview(bytes(400)).cast('I') | range(3)
    """,
    "buffer": """
        bytearray(100) | bytearray(70000) | OddBuffer(1000) | memoryview(bytearray(50)) | bytearray() | b'constant'
        memoryview(bytearray(64))[::2]
    """,
    "protocol": """
        Protocol() | EchoProtocol() | DatagramProtocol() | ResizingProtocol() | ResizingProtocol('drop', 1)
        ResizingProtocol('close')
        ResizingProtocol('abort', 70000) | ActingProtocol('drop') | ActingProtocol('close') | ActingProtocol('abort')
        ActingProtocol('raise')
        ActingProtocol('write') | ActingProtocol('turn') | ActingProtocol('interrupt') | ActingProtocol('init')
        ActingProtocol('throw')
        Hostile('drop') | Open('drop', nothing) | None | ActingProtocol('cancelled')
        asyncio.StreamReaderProtocol(asyncio.StreamReader(loop=v[1]), loop=v[1])
    """,
    "context": """
        contextvars.copy_context() | contextvars.Context() | None | Hostile('drop') | Lying(contextvars.Context) | 3
    """,
    "error": """
        ValueError('an error') | ValueError | OddError | OddError('odd') | asyncio.CancelledError
        asyncio.CancelledError('why') | GeneratorExit
        StopIteration | StopIteration(3) | KeyboardInterrupt | SystemExit | None | 3 | Exception | type
        TimeoutError() | BaseException()
    """,
    "name": """
        'x' | '_loop' | '_callbacks' | 'socket' | '__class__' | OddStr('call_soon') | 3 | None | '\\ud800' | b'x'
        '__dict__'
    """,
    "port": "9 | 0 | 65535 | 65536 | -1 | 2**40",
    "deed": " | ".join(repr(deed) for deed in values.DEEDS),
    "kind": "None | SubLoop | CountingLoop",
    "short": "0.00005 | 0.0002 | 0.001",
    "index": "0 | 1 | 2 | 3 | 5 | 8 | 13",
}

#: What makes useful objects, and ordinary use: a line is a template, twice or more written is more often drawn.
MAKERS = """
new_loop({kind})
new_loop({kind})
new_loop()
{loop}.create_future()
{loop}.create_future()
{loop}.create_future()
NativeFuture(loop={loop})
OddFuture(loop={loop})
ForeignFuture({loop})
native.Future(loop={loop})
asyncio.Future(loop={loop})
{loop}.create_task(work({awaitable}))
{loop}.create_task(work({awaitable}, {awaitable}))
{loop}.create_task({awaitable})
{loop}.create_task(stubborn({awaitable}), name={any})
{loop}.create_task(work({awaitable}), context={context})
{loop}.create_task(yielding({any}, {any}))
{loop}.create_task(work(Awaitable({any})))
{loop}.create_task(within({primitive}, {awaitable}))
{loop}.create_task(over({any}))
{loop}.create_task(one_by_one({any}))
{loop}.create_task(spawning({group}, {awaitable}))
native.Task(work({awaitable}), loop={loop})
native.Task(work({awaitable}), loop={loop}, eager_start={any})
NativeTask({awaitable}, loop={loop})
{loop}.call_soon({callback}, {any})
{loop}.call_soon({callback}, {any}, {any}, context={context})
{loop}.call_later({delay}, {callback})
{loop}.call_later({delay}, {callback}, {any})
{loop}.call_at({loop}.time() + 0.0005, {callback}, {any})
{loop}.call_soon_threadsafe({callback}, {any})
work({awaitable})
work({awaitable}, {awaitable})
yielding({any})
yielding({future}, {any})
stubborn({awaitable})
within({primitive}, {awaitable})
aio.sleep(0)
aio.sleep({delay})
aio.sleep({delay}, {any})
aio.wait_for({awaitable}, {delay})
aio.wait_for({any}, {number})
aio.gather({awaitable}, {awaitable}, return_exceptions={any})
aio.gather({future}, {future})
aio.gather({any}, {any}, {any})
aio.shield({awaitable})
aio.shield({any})
aio.wait([{future}, {future}], timeout={delay})
aio.wait([{future}, {any}], return_when={any})
aio.as_completed([{future}, {awaitable}], timeout={delay})
aio.as_completed({any})
aio.Lock()
aio.Event()
aio.Condition()
aio.Condition({primitive})
aio.Semaphore({number})
aio.BoundedSemaphore({index})
aio.Barrier({index})
aio.Queue({number})
aio.LifoQueue()
aio.PriorityQueue({index})
aio.TaskGroup()
aio.timeout({delay})
aio.timeout_at({number})
aio.Timeout({number})
aio.StreamReader({number}, {loop})
aio.StreamReader(loop={loop})
aio.StreamReader(loop={loop})
aio.StreamReaderProtocol({stream}, loop={loop})
aio.StreamReaderProtocol({any}, {callback}, {loop})
aio.StreamWriter({transport}, {stream}, {stream}, {loop})
aio.StreamWriter({transport}, {any}, None, {loop})
run({loop}, aio.open_connection(*address_of({server})))
run({loop}, aio.start_server({callback}, '127.0.0.1', 0))
{stream}.feed_data({bytes})
{stream}.feed_data({bytes})
{stream}.feed_data({any})
{stream}.feed_eof()
{stream}.set_exception({error})
{stream}.set_transport({transport})
{stream}.read({number})
{stream}.read()
{stream}.readexactly({number})
{stream}.readuntil({bytes})
{stream}.readuntil(({bytes}, {bytes}))
{stream}.readline()
{stream}.__anext__()
run({loop}, {stream}.read({number}))
run({loop}, {stream}.readline())
{stream}._buffer
{stream}._buffer.extend({bytes})
memoryview({stream}._buffer)
{stream}.data_received({bytes})
{stream}.connection_made({transport})
{stream}.connection_lost({error})
{stream}.pause_writing()
{stream}.resume_writing()
{stream}._drain_helper()
{stream}.write({bytes})
{stream}.drain()
run({loop}, {stream}.drain())
{primitive}.acquire()
{primitive}.wait()
{primitive}.get()
{primitive}.put({any})
{primitive}.release()
{primitive}.set()
{primitive}.put_nowait({any})
{primitive}.get_nowait()
{primitive}.wait_for({callback})
{primitive}.notify_all()
{primitive}.__aenter__()
{primitive}.__aexit__(None, None, None)
{primitive}.__aexit__({error}, {any}, {any})
pair({slot}, {slot})
pair({slot}, {slot})
tcp_pair({slot}, {slot})
datagram_pair({slot}, {slot})
pipe_ends({slot}, {slot})
listener()
closed_socket()
blocking_socket()
odd_socket()
duplicate({sock})
reset({sock})
fill({sock})
drain({sock})
exchange({sock})
exchange({sock})
replace_number({sock})
{sock}.close()
{sock}.setblocking(False)
{loop}._make_socket_transport({sock}, {protocol})
{loop}._make_socket_transport({sock}, {protocol}, {waiter})
{loop}._make_datagram_transport({sock}, {protocol}, None, {waiter})
{loop}._make_datagram_transport({sock}, {protocol}, {any}, {waiter}, {any})
{loop}._make_read_pipe_transport({file}, {protocol}, {waiter})
{loop}._make_write_pipe_transport({file}, {protocol}, {waiter})
first(run({loop}, {loop}.create_connection(lambda p={protocol}: p, sock={sock})))
first(run({loop}, {loop}.create_datagram_endpoint(lambda p={protocol}: p, sock={sock})))
first(run({loop}, {loop}.connect_read_pipe(Protocol, {file})))
first(run({loop}, {loop}.connect_write_pipe(Protocol, {file})))
run({loop}, {loop}.create_server(lambda p={protocol}: p, '127.0.0.1', 0))
run({loop}, {loop}.create_server(EchoProtocol, sock={sock}))
first(run({loop}, {loop}.create_connection(lambda p={protocol}: p, *address_of({server}))))
{loop}.create_connection(lambda p={protocol}: p, *address_of({server}))
run({loop}, asyncio.open_connection(*address_of({server})))
{loop}._connect('127.0.0.1', {port})
{loop}._connect('127.0.0.1', address_of({server})[1])
{loop}._schedule_outcome({connection}, {future})
{loop}._begin({type}, {connection}, {protocol}, {waiter})
{loop}._accept({type}, {callback}, {sock}, {any}, {number}, {any}, {any}, {context})
{loop}.sock_recv({sock}, {count})
{loop}.sock_recv_into({sock}, {buffer})
{loop}.sock_recvfrom({sock}, {count})
{loop}.sock_recvfrom_into({sock}, {buffer}, {count})
{loop}.sock_sendall({sock}, {bytes})
{loop}.sock_sendto({sock}, {bytes}, {any})
{loop}.sock_accept({sock})
{loop}.sock_connect({sock}, ('127.0.0.1', {port}))
{loop}._sock_wait_readable({sock})
{loop}._sock_wait_writable({sock})
{loop}._sock_wait_readable({any})
run({loop}, {loop}.sock_recv({sock}, {count}))
run({loop}, {loop}.sock_sendall({sock}, {bytes}))
{transport}.write({bytes})
{transport}.write({bytes})
{transport}.writelines([{bytes}, {bytes}, {any}])
{transport}.writelines({any})
{transport}.write_eof()
{transport}.pause_reading()
{transport}.resume_reading()
{transport}.set_protocol({protocol})
{transport}.sendto({bytes}, {any})
{transport}.close()
{transport}.abort()
{transport}.get_extra_info('socket')
{transport}.get_extra_info({name}, {any})
{transport}.set_write_buffer_limits({number}, {number})
{transport}.set_write_buffer_limits(high={number})
{transport}._force_close({error})
{loop}.add_reader({sock}, {callback}, {any})
{loop}.add_writer({sock}, {callback})
{loop}.remove_reader({sock})
{loop}.remove_writer({sock})
{loop}.add_reader({any}, {callback})
{loop}.add_signal_handler(signal.SIGUSR1, {callback})
{loop}.remove_signal_handler(signal.SIGUSR1)
{loop}.set_debug({any})
{loop}.set_task_factory({callback})
{loop}.set_task_factory(None)
{loop}.set_exception_handler({callback})
{loop}.set_exception_handler(None)
{loop}.run_until_complete({awaitable})
{loop}.stop()
{loop}.close()
{loop}._add_callback({any})
{loop}._add_callback({handle})
{loop}._add_callback_signalsafe({handle})
{handle}.cancel()
{handle}._run()
{future}.set_result({any})
{future}.set_exception({error})
{future}.add_done_callback({callback})
{future}.add_done_callback({callback}, context={context})
{future}.add_done_callback({x})
{future}.remove_done_callback({callback})
{future}.cancel({any})
{future}.cancel()
{future}.result()
{future}.exception()
{x}.send(None)
{x}.send({any})
{x}.throw({error})
{x}.throw({error}, {any}, {any})
{x}.close()
next({x})
await_once({x})
Awaitable({x})
asyncio.ensure_future({x}, loop={loop})
asyncio.run_coroutine_threadsafe({awaitable}, {loop})
lurking({index})
cycle()
weakref.ref({any}, {callback})
weakref.ref({x})
contextvars.copy_context()
{context}.run(turn, {loop})
{context}.run({callback}, {any})
patched({loop}, {name}, {any}, lambda: turn({loop}))
patched({loop}, 'call_soon', {callback}, lambda: turn({loop}))
patched({loop}, '_timer_handle_cancelled', {callback}, {callback})
patched({x}, {name}, {any}, lambda: turn({loop}))
interrupted({short}, lambda: turn({loop}))
interrupted({short}, lambda: wait_a_little({loop}))
beside({loop}, lambda l={loop}: l.call_soon_threadsafe(nothing))
beside({loop}, lambda l={loop}: l.call_soon_threadsafe(nothing), {x}.cancel, {x}.cancelled)
beside({loop}, lambda l={loop}: l._write_to_self(), lambda h={x}: repr(h), gc.collect)
""".strip().splitlines()

#: One slot of a type each.
SLOTS = """
repr({x})
str({x})
hash({x})
bool({x})
len({x})
iter({x})
next(iter({x}))
list(itertools.islice({x}, 3))
{x} == {any}
{any} == {x}
{x} < {any}
{x} | {any}
{any} in {x}
{x}[{any}]
copy.copy({x})
copy.deepcopy({future})
pickle.loads(pickle.dumps({x}))
{x}.__reduce_ex__(2)
{x}.__sizeof__()
{x}.__dir__()
{x}.__class__
{x}.__dict__
gc.get_referents({x})
gc.is_tracked({x})
gc.collect()
gc.collect(0)
dir({x})
type({x}).__mro__
isinstance({any}, type({x}))
issubclass({any}, type({x}))
{x}()
{x}({any})
{x}({any}, {any}, key={any})
{x}({future})
{x}.__get__({any}, {any})
{x}.__set_name__({any}, {name})
{x}.__await__()
{x}.__del__()
{x}.__enter__()
{x}.__exit__(None, None, None)
{x}.__aenter__()
{x}.__aexit__({error}, {any}, {any})
{x}.__class__ = {any}
type({x}).__getattribute__({x}, {any})
type({x}).__setattr__({x}, {any}, {any})
type({x}).__delattr__({x}, {any})
object.__getattribute__({x}, {name})
getattr({x}, {name})
format({x}, {any})
operator.index({x})
memoryview({x})
bytes({x})
inspect.iscoroutine({x})
inspect.iscoroutinefunction({x})
inspect.isawaitable({x})
inspect.signature({x})
asyncio.isfuture({x})
asyncio.iscoroutine({x})
types.MethodType({x}, {any})
functools.partial({x}, {any})
type('Body', (), {'name': {x}})().name
type('Body', (), {'name': {x}})
type('Sub', (type({x}),), {})
weakref.WeakMethod({x})
sys.getsizeof({x})
vars({x}).clear()
vars({x}).update(x={any})
""".strip().splitlines()

#: Odd ways to construct, and to call what belongs to another object.
CONSTRUCTIONS = """
{type}({any})
{type}()
{type}({any}, {any})
{type}({any}, {any}, {any})
{type}({loop}, {sock}, {protocol})
{type}({loop}, {sock}, {protocol}, {waiter}, {any}, {any})
{type}(loop={loop})
{type}({callback}, {any}, {loop})
{type}({callback}, {any}, {loop}, {context})
{type}({number}, {callback}, {any}, {loop})
{type}.__new__({type})
{type}.__new__({type})
{type}.__new__({type}, {any}, {any})
{type}.__new__({any})
object.__new__({type})
asyncio.Future.__new__({type})
subclass({type})()
subclass({type})({any})
subclass({type}).__new__(subclass({type}))
subclass({type})({loop}, {sock}, {protocol})
subclass({type}).__new__(subclass({type}), {any})
type({x}).__new__(type({x}))
type({x})({any})
{x}.__init__()
{x}.__init__({any})
{x}.__init__({any}, {any})
{x}.__init__({any}, {any}, {any})
{x}.__init__(loop={loop})
{x}.__init__({awaitable}, loop={loop})
{x}.__init__({loop}, {sock}, {protocol})
{x}.__init__({loop}, {sock}, {protocol}, {waiter})
{x}._open({loop}, {sock}, {protocol}, {any}, {context})
{x}._open({loop}, {sock}, {protocol}, {any}, {any}, {number}, {any}, {any})
{x}._begin({waiter})
native.Function({name}, {any})
native.CoroutineFunction({name}, {any})
native.Function({name}, {callback})
native.CoroutineFunction({name}, {callback})
native.add_pipe_methods({type}, {type})
native.add_pipe_methods(type('R', (), {}), type('W', (), {}))
""".strip().splitlines()

#: The arguments that a method is meant for.
SIGNATURES = {
    "call_soon": "callback any",
    "call_soon_threadsafe": "callback any",
    "call_later": "delay callback any",
    "call_at": "number callback any",
    "create_task": "awaitable",
    "_add_reader": "sock callback any",
    "_add_writer": "sock callback any",
    "_remove_reader": "sock",
    "_remove_writer": "sock",
    "add_done_callback": "callback",
    "remove_done_callback": "callback",
    "set_result": "any",
    "set_exception": "error",
    "cancel": "any",
    "get_stack": "",
    "send": "any",
    "throw": "error",
    "write": "bytes",
    "writelines": "any",
    "sendto": "bytes any",
    "feed_data": "bytes",
    "data_received": "bytes",
    "read": "number",
    "readexactly": "number",
    "readuntil": "bytes",
    "set_protocol": "protocol",
    "set_write_buffer_limits": "number number",
    "get_extra_info": "name any",
    "_force_close": "error",
    "_call_connection_lost": "error",
    "_fatal_error": "error any",
    "_begin": "waiter",
    "_schedule_outcome": "connection future",
    "_forget_socket": "any",
    "_end_wait": "future",
    "_stream_transport": "number",
    "_watched_events": "number",
    "_read_names": "number",
    "_set_signal_pair_state": "any any",
    "call_exception_handler": "any",
    "default_exception_handler": "any",
    "put_nowait": "any",
    "put": "any",
    "reschedule": "number",
    "notify": "number",
    "uncancel": "",
    "set_name": "any",
    "_asyncgen_firstiter_hook": "any",
    "_asyncgen_finalizer_hook": "any",
    "sock_sendfile": "sock any",
    "sendfile": "transport any",
    "sock_accept": "sock",
    "sock_connect": "sock any",
    "connect_accepted_socket": "any sock",
    "_make_ssl_transport": "sock protocol any any",
    "start_tls": "transport protocol any",
    "__getattribute__": "name",
    "__setattr__": "name any",
    "__delattr__": "name",
    "__call__": "any any",
    "__get__": "any any",
}

#: Methods that a program calls in ways of its own, since they wait for ever, reach beyond the process, or print.
#: The alarm ends waits as well; this keeps most seeds from waiting.
EXCLUDED = frozenset(
    """
    run_forever run_until_complete _run_once _run_until_stopped subprocess_exec subprocess_shell
    _make_subprocess_transport add_signal_handler remove_signal_handler run_in_executor set_default_executor
    shutdown_default_executor _do_shutdown getaddrinfo getnameinfo _ensure_resolved create_connection
    create_datagram_endpoint create_server create_unix_server create_unix_connection print_stack _connect_sock
    _handle_signal _let_signals_be _let_signals_wake _start_serving __init_subclass__ __subclasshook__
    _selector _unix_server_sockets
    """.split()
)


class Template:
    """An expression with places for arguments: its text, and the same compiled."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.kinds = re.findall(r"\{([a-z]+)\}", text)
        names = string.ascii_letters[: len(self.kinds)]
        parameters = iter(names)
        body = re.sub(r"\{[a-z]+\}", lambda _: f"_{next(parameters)}", text)
        head = ", ".join(f"_{name}" for name in names)
        if re.search(r" = ", text):
            target, value = body.split(" = ")
            thing, attribute = target.rsplit(".", 1)
            body = f"setattr({thing}, {attribute!r}, {value})"
            thing, attribute = text.split(" = ")[0].rsplit(".", 1)
            self.text = f"setattr({thing}, {attribute!r}, {text.split(' = ')[1]})"
        self.function: Callable[..., Any] = eval(f"lambda {head}: {body}", NAMES)
        self.parts = re.split(r"\{[a-z]+\}", self.text)

    def filled(self, texts: list[str]) -> str:
        pieces = [self.parts[0]]
        for text, part in zip(texts, self.parts[1:], strict=True):
            pieces += (text, part)
        return "".join(pieces)


def compiled(texts: str) -> list[tuple[str, Callable[[], Any]]]:
    literals = (text.strip() for line in texts.strip().splitlines() for text in line.split(" | "))
    return [(receivable(text), eval(f"lambda: {text}", NAMES)) for text in literals if text]


def receivable(text: str) -> str:
    """The text of an expression such that a name may follow it: `3.close` is none, `(3).close` is."""
    return text if re.fullmatch(r"[A-Za-z_][\w.]*(\(.*\))?", text) else f"({text})"


ARGUMENTS = {kind: compiled(texts) for kind, texts in LITERALS.items()}
TEMPLATES = {
    name: [Template(text) for text in texts]
    for name, texts in (("make", MAKERS), ("slot", SLOTS), ("odd", CONSTRUCTIONS))
}

#: The native types, and those of the package, under the names that programs know.
TYPES: list[tuple[str, type]] = [
    (f"native.{name}", kind) for name, kind in sorted(vars(values.native).items()) if isinstance(kind, type)
]
TYPES += [
    (f"aio.{name}", getattr(values.aio, name))
    for name in """
    Lock Event Condition Semaphore BoundedSemaphore Barrier Queue LifoQueue PriorityQueue TaskGroup Timeout
    StreamReader StreamReaderProtocol StreamWriter
    """.split()
]
TYPES.append(("ferrio.Loop", values.ferrio.Loop))
if values.LOOP == "ferrio":
    from ferrio import _datagram, _pipe, _transport

    values.ferrio_transport, values.ferrio_datagram, values.ferrio_pipe = _transport, _datagram, _pipe
    TYPES += [
        ("ferrio._transport.SocketTransport", _transport.SocketTransport),
        ("ferrio._datagram.DatagramSocketTransport", _datagram.DatagramSocketTransport),
        ("ferrio._pipe.ReadPipeTransport", _pipe.ReadPipeTransport),
        ("ferrio._pipe.WritePipeTransport", _pipe.WritePipeTransport),
    ]


def leave_out(pieces: list[str]) -> None:
    """Draw nothing any more whose text has one of *pieces*: what is known to fail already."""
    for texts in ARGUMENTS.values():
        texts[:] = [entry for entry in texts if not any(piece in entry[0] for piece in pieces)]
    for templates in TEMPLATES.values():
        templates[:] = [template for template in templates if not any(piece in template.text for piece in pieces)]
    _left_out.update(pieces)


_left_out: set[str] = set()
SURFACE = tuple(kind for _, kind in TYPES)
PRIMITIVES = tuple(kind for name, kind in TYPES if name.startswith("aio."))
FUNCTION_TYPES = tuple(kind for name, kind in TYPES if name.endswith("Function"))
_members: dict[type, list[str]] = {}
_kinds: dict[type, frozenset[str]] = {}


def members(kind: type) -> list[str]:
    """The attributes of a type's objects that are called, read and set."""
    found = _members.get(kind)
    if found is None:
        found = _members[kind] = [
            name
            for name in dir(kind)
            if not hasattr(object, name) and name not in EXCLUDED and not any(piece in name for piece in _left_out)
        ]
    return found


def kinds_of(kind: type) -> frozenset[str]:
    """What an object of this type can be used as."""
    found = _kinds.get(kind)
    if found is None:
        found = _kinds[kind] = frozenset(_find_kinds(kind))
    return found


def forget_types() -> None:
    """Keep no type alive: a program's own are to be freed with it."""
    _members.clear()
    _kinds.clear()


def _find_kinds(kind: type) -> list[str]:
    has = {
        "x": issubclass(kind, SURFACE) or issubclass(kind, (asyncio.Future, asyncio.Handle, asyncio.BaseTransport)),
        "loop": issubclass(kind, asyncio.AbstractEventLoop),
        "future": issubclass(kind, asyncio.Future),
        "waiter": issubclass(kind, asyncio.Future) and not issubclass(kind, asyncio.Task),
        "awaitable": hasattr(kind, "__await__"),
        "handle": issubclass(kind, asyncio.Handle),
        "transport": issubclass(kind, asyncio.BaseTransport),
        "sock": issubclass(kind, socket.socket),
        "primitive": issubclass(kind, PRIMITIVES),
        "group": issubclass(kind, values.aio.TaskGroup),
        "stream": issubclass(kind, (asyncio.StreamReader, asyncio.StreamWriter, asyncio.StreamReaderProtocol)),
        "server": issubclass(kind, asyncio.base_events.Server),
        "connection": kind.__name__ == "Connection",
        "context": issubclass(kind, contextvars.Context),
        "bytes": issubclass(kind, (bytes, bytearray, memoryview)),
        "buffer": issubclass(kind, (bytearray, memoryview)),
        "file": hasattr(kind, "readinto") or kind.__name__ == "FileIO",
        "error": issubclass(kind, BaseException),
        "callback": hasattr(kind, "__call__") and not issubclass(kind, type),  # noqa: B004
    }
    return [name for name, holds in has.items() if holds]
