"""Connections from their beginning to their end, in the same order and in the same turns."""

import asyncio
import socket
import sys
from typing import Any

import pytest

from unit.socket_pairs import tcp_pair

from .conftest import Play
from .observation import Diary
from .protocols import Noted, NotedBuffered, connect, read_all, reset, turns


def test_a_conversation_takes_the_same_turns(scenario_in_both_modes: Play) -> None:
    async def play(diary: Diary) -> None:
        echo = {"data_received": lambda transport: transport.write(b"echo")}
        first = Noted(diary, "first")
        second = Noted(diary, "second", at=echo)
        ours, theirs = socket.socketpair()
        await diary.loop.create_connection(lambda: first, sock=ours)
        await diary.loop.create_connection(lambda: second, sock=theirs)
        diary.count_turns()
        for number in range(5):
            first.transport.write(b"ball %d" % number)
            diary("thrown", number)
            await turns(4)
        first.transport.write(b"last")
        first.transport.close()
        await second.lost
        await turns(4)

    seen = scenario_in_both_modes(play)
    assert [5, "thrown", 1] in seen.entries
    assert seen.events.count("second.data_received") == 6


@pytest.mark.parametrize("ending", ["close", "abort"])
@pytest.mark.parametrize(
    "where",
    ["connection_made", "data_received", "eof_received", "connection_lost", "outside", "timer"],
)
def test_an_end_from_everywhere_comes_in_the_same_turn(scenario: Play, where: str, ending: str) -> None:
    async def play(diary: Diary) -> None:
        def end(transport: Any) -> None:
            diary("ending", transport.is_closing())
            getattr(transport, ending)()
            diary("ended", transport.is_closing())

        protocol = Noted(diary, at={where: end}, keep_open=where == "eof_received")
        ours, peer = socket.socketpair()
        peer.setblocking(False)
        peer.send(b"data")
        if where in ("eof_received", "connection_lost"):
            peer.shutdown(socket.SHUT_WR)
        diary.count_turns()
        transport, _ = await diary.loop.create_connection(lambda: protocol, sock=ours)
        diary("connected")
        if where == "outside":
            end(transport)
        elif where == "timer":
            diary.loop.call_later(0, end, transport)
        await protocol.lost
        await turns(3)
        peer.close()

    seen = scenario(play)
    assert "protocol.connection_lost" in seen.events


def test_nobody_listens(scenario_in_both_modes: Play) -> None:
    async def play(diary: Diary) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
        with diary.raises("one address"):
            await diary.loop.create_connection(lambda: Noted(diary), *address)
        with diary.raises("happy eyeballs"):
            await diary.loop.create_connection(lambda: Noted(diary), *address, happy_eyeballs_delay=0.001)
        with diary.raises("a local address in use"), socket.create_server(("127.0.0.1", 0)) as taken:
            await diary.loop.create_connection(lambda: Noted(diary), *address, local_addr=taken.getsockname())

    scenario_in_both_modes(play)


def test_arguments_that_do_not_fit_together(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        loop: Any = diary.loop
        ours, theirs = socket.socketpair()
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        calls: dict[str, Any] = {
            "nothing": {},
            "host and socket": {"host": "127.0.0.1", "port": 1, "sock": ours},
            "a host name without TLS": {"sock": ours, "server_hostname": "localhost"},
            "TLS without a host name": {"sock": ours, "ssl": True},
            "a handshake timeout without TLS": {"sock": ours, "ssl_handshake_timeout": 1},
            "datagrams": {"sock": datagrams},
        }
        for name, options in calls.items():
            with diary.raises(name):
                await loop.create_connection(lambda: Noted(diary), **options)
        servers: dict[str, Any] = {
            "nothing": {"sock": None, "host": None, "port": None},
            "host and socket": {"host": "127.0.0.1", "port": 0, "sock": ours},
            "TLS that is True": {"host": "127.0.0.1", "port": 0, "ssl": True},
            "TLS that is text": {"host": "127.0.0.1", "port": 0, "ssl": "text"},
            "datagrams": {"sock": datagrams},
            "a bad port": {"host": "127.0.0.1", "port": -1},
            "a bad address": {"host": "127.0.0.300", "port": 0},
            "another's address": {"host": "192.0.2.1", "port": 0},
        }
        for name, options in servers.items():
            with diary.raises("server: " + name):
                server = await loop.create_server(lambda: Noted(diary), **options)
                server.close()
        for each in (ours, theirs, datagrams):
            each.close()

    scenario(play)


def test_a_reset_by_the_peer(scenario_in_both_modes: Play) -> None:
    async def play(diary: Diary) -> None:
        reading = Noted(diary, "reading")
        _, peer = await connect(reading, tcp=True)
        reset(peer)
        await reading.lost
        paused = Noted(diary, "paused", at={"connection_made": lambda transport: transport.pause_reading()})
        transport, peer = await connect(paused, tcp=True)
        reset(peer)
        while not paused.lost.done():
            transport.write(b"x")
            await asyncio.sleep(0)
        await turns(2)

    scenario_in_both_modes(play)


def test_writes_after_the_end(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        protocol = Noted(diary)
        transport, peer = await connect(protocol)
        transport.close()
        for number in range(8):
            transport.write(b"late")
            diary("written", number, transport._conn_lost, transport.get_write_buffer_size())
        await protocol.lost
        transport.close()
        transport.abort()
        transport.pause_reading()
        transport.resume_reading()
        diary("state", transport.is_closing(), transport.is_reading(), transport.get_extra_info("peername"))
        diary("repr", repr(transport))
        peer.close()

    seen = scenario(play)
    assert len(seen.logged) == 4


def test_writes_after_the_peer_has_gone(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        protocol = Noted(diary)
        transport, peer = await connect(protocol)
        transport.pause_reading()
        peer.close()
        diary.count_turns()
        for number in range(3):
            transport.write(b"x")
            # Ferrio sends when the callback is over, and learns of the failure then.
            await turns(2)
            diary("written", number, transport.is_closing())
        await protocol.lost

    scenario(play)


@pytest.mark.parametrize("keep_open", [False, True])
@pytest.mark.parametrize("first", ["us", "peer"])
def test_half_closing(scenario: Play, first: str, keep_open: bool) -> None:
    async def play(diary: Diary) -> None:
        protocol = Noted(diary, keep_open=keep_open)
        transport, peer = await connect(protocol)
        diary.count_turns()
        if first == "us":
            transport.write(b"before")
            transport.write_eof()
            with diary.raises("write"):
                transport.write(b"after")
            with diary.raises("writelines"):
                transport.writelines([b"after"])
            transport.write_eof()
            peer.send(b"answer")
            await turns(4)
            peer.shutdown(socket.SHUT_WR)
        else:
            peer.send(b"before")
            peer.shutdown(socket.SHUT_WR)
            await turns(4)
            diary("state", transport.is_closing(), transport.is_reading())
            transport.write(b"answer")
        await turns(4)
        diary("state", transport.is_closing(), transport.is_reading())
        transport.close()
        await protocol.lost
        diary("the peer got", peer.recv(100), peer.recv(100))
        peer.close()

    scenario(play)


def test_an_end_with_bytes_still_waiting(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        for ending in ("close", "write_eof", "abort"):
            protocol = Noted(diary, ending)
            transport, peer = await connect(protocol)
            transport.write(b"x" * (4 << 20))
            getattr(transport, ending)()
            diary("state", transport.is_closing(), transport.is_reading(), transport.get_write_buffer_size() > 0)
            count = await read_all(diary.loop, peer)
            diary("the peer got", count == 4 << 20)
            peer.close()
            await protocol.lost

    scenario(play)


def test_pausing_and_resuming(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        protocol = Noted(diary)
        transport, peer = await connect(protocol)
        diary.count_turns()
        for _ in range(2):
            transport.pause_reading()
            diary("paused", transport.is_reading())
        peer.send(b"one")
        await turns(3)
        for _ in range(2):
            transport.resume_reading()
            diary("resumed", transport.is_reading())
        await turns(3)
        transport.pause_reading()
        peer.send(b"two")
        peer.close()
        await turns(3)
        transport.resume_reading()
        await protocol.lost

    scenario(play)


def test_reading_into_a_protocols_buffer(scenario: Play) -> None:
    async def play(diary: Diary) -> bytes:
        protocol = NotedBuffered(diary)
        _, peer = await connect(protocol)
        diary.count_turns()
        peer.send(b"0123456789" * 4)
        await turns(5)
        peer.close()
        await protocol.lost
        return bytes(protocol.received)

    scenario(play)


def test_changing_the_protocol_on_the_way(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        second = NotedBuffered(diary, "second")
        third = Noted(diary, "third")
        first = Noted(diary, "first", at={"data_received": lambda transport: transport.set_protocol(second)})
        second.at["buffer_updated"] = lambda _: first.transport.set_protocol(third)
        transport, peer = await connect(first)
        diary.count_turns()
        for text in (b"one", b"two", b"three"):
            peer.send(text)
            await turns(2)
        diary("protocol", transport.get_protocol() is third)
        peer.close()
        await third.lost

    seen = scenario(play)
    assert seen.events[-2:] == ["third.eof_received", "third.connection_lost"]


def test_what_write_refuses(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        protocol = Noted(diary)
        transport, peer = await connect(protocol)
        for data in ("text", None, 1, [b"x"], object, 1.5):
            with diary.raises("write", str(type(data))):
                transport.write(data)
        for limits in ({"high": 1, "low": 2}, {"high": -5}, {"low": -1}, {"high": 0, "low": 1}):
            with diary.raises("limits", limits):
                transport.set_write_buffer_limits(**limits)
        diary("limits", transport.get_write_buffer_limits())
        transport.abort()
        await protocol.lost
        peer.close()

    scenario(play)


def test_a_server_with_clients_that_come_and_go(scenario_in_both_modes: Play) -> None:
    async def play(diary: Diary) -> None:
        served: list[Noted] = []

        def factory() -> Noted:
            served.append(Noted(diary, f"served {len(served)}"))
            return served[-1]

        server = await diary.loop.create_server(factory, "127.0.0.1", 0)
        clients = []
        for number in range(3):
            client = Noted(diary, f"client {number}")
            await diary.loop.create_connection(lambda client=client: client, *server.sockets[0].getsockname())
            while len(served) == number or served[number].transport is None:
                await asyncio.sleep(0)
            clients.append(client)
        clients[0].transport.write(b"hello")
        while not served[0].received:
            await asyncio.sleep(0)
        served[1].transport.close()
        await clients[1].lost
        await served[1].lost
        server.close()
        diary("closed", server.is_serving(), len(server.sockets))
        waiting = asyncio.ensure_future(server.wait_closed())
        await turns(3)
        diary("waiting", waiting.done())
        for number in (0, 2):
            clients[number].transport.abort()
            await served[number].lost
            await clients[number].lost
        await waiting
        await turns(3)

    scenario_in_both_modes(play)


def test_transports_that_nobody_closes(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        _, peer = await connect(Noted(diary, at={"connection_made": lambda transport: transport.pause_reading()}))
        await turns(3)
        import gc

        gc.collect()
        diary("the peer got", peer.recv(10))
        peer.close()

    seen = scenario(play)
    # The transport's warning and its socket's.
    assert [name for name, _ in seen.warned] == ["ResourceWarning"] * 2


def test_sending_files(scenario: Play, tmp_path: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789" * 20_000)

    async def play(diary: Diary) -> None:
        loop = diary.loop
        protocol = Noted(diary)
        transport, peer = await connect(protocol, tcp=True)
        with path.open("rb") as file:
            calls: dict[str, Any] = {
                "all": {},
                "a part": {"offset": 5, "count": 10},
                "beyond the end": {"offset": 10**7},
                "more than there is": {"offset": 199_990, "count": 100},
                "no fallback": {"fallback": False},
            }
            for name, options in calls.items():
                with diary.raises(name):
                    file.seek(0)
                    reading = asyncio.ensure_future(read_all(loop, peer, 1)) if name == "all" else None
                    diary(name, await loop.sendfile(transport, file, **options), file.tell())
                    if reading is not None:
                        await reading
            for name, options in {
                "offset": {"offset": -1},
                "count": {"count": 0},
                "text": {"offset": "1"},
            }.items():
                with diary.raises(name):
                    await loop.sendfile(transport, file, **options)  # type: ignore[arg-type]
        with path.open() as text, diary.raises("a text file"):
            await loop.sendfile(transport, text)  # type: ignore[arg-type]
        transport.abort()
        with path.open("rb") as file, diary.raises("a closing transport"):
            await loop.sendfile(transport, file)
        await protocol.lost
        peer.close()

    scenario(play)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio lets two transports have one socket until 3.12")
def test_two_transports_for_one_socket(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        protocol = Noted(diary)
        transport, peer = await connect(protocol)
        number = transport.get_extra_info("socket").fileno()
        again = socket.socket(fileno=number)
        with diary.raises("a second transport"):
            await diary.loop.create_connection(lambda: Noted(diary, "second"), sock=again)
        for method in ("add_reader", "add_writer"):
            with diary.raises(method):
                getattr(diary.loop, method)(again, print)
        for method in ("remove_reader", "remove_writer"):
            with diary.raises(method):
                getattr(diary.loop, method)(number)
        for method, args in {"sock_recv": (1,), "sock_sendall": (b"x",)}.items():
            with diary.raises(method):
                await getattr(diary.loop, method)(again, *args)
        again.detach()
        transport.abort()
        await protocol.lost
        peer.close()

    scenario(play)


def test_a_connection_of_two_tcp_sockets(scenario_in_debug: Play) -> None:
    async def play(diary: Diary) -> None:
        ours, theirs = tcp_pair()
        first, second = Noted(diary, "first"), Noted(diary, "second", keep_open=True)
        await diary.loop.create_connection(lambda: first, sock=ours)
        await diary.loop.create_connection(lambda: second, sock=theirs)
        first.transport.write(b"hello")
        while not second.received:
            await asyncio.sleep(0)
        first.transport.write_eof()
        while "second.eof_received" not in [entry[0] for entry in diary.entries]:
            await asyncio.sleep(0)
        second.transport.write(b"bye")
        second.transport.close()
        await second.lost
        await first.lost

    scenario_in_debug(play)
