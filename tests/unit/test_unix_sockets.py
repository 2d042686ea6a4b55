"""Unix sockets: paths, abstract names, and the removal of the path when a server closes."""

import asyncio
import os
import socket
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from .connections import Recorder
from .loops import run, run_until

Loop = asyncio.AbstractEventLoop

since_3_13 = pytest.mark.skipif(sys.version_info < (3, 13), reason="cleanup_socket came with Python 3.13")


async def exchange(loop: Loop, path: Any) -> tuple[Any, Any]:
    """Serve at *path*, connect, exchange a greeting, and return the names of both ends."""
    served: asyncio.Future[Recorder] = loop.create_future()

    class Serves(Recorder):
        def data_received(self, data: bytes) -> None:
            self.transport.write(data.upper())
            served.set_result(self)

    server = await loop.create_unix_server(Serves, path)
    transport, protocol = await loop.create_unix_connection(Recorder, path)
    transport.write(b"hello")
    peer = await served
    while protocol.received != b"HELLO":
        await asyncio.sleep(0)
    names = transport.get_extra_info("peername"), peer.transport.get_extra_info("sockname")
    transport.close()
    while not (protocol.is_lost and peer.is_lost):
        await asyncio.sleep(0)
    server.close()
    await server.wait_closed()
    return names


@pytest.mark.parametrize("kind", [str, Path, os.fsencode])
def test_a_path_connects(loop: Loop, tmp_path: Path, kind: Any) -> None:
    path = str(tmp_path / "socket")
    assert run(loop, exchange(loop, kind(path))) == (path, path)


@pytest.mark.parametrize("kind", [str, os.fsencode])
def test_an_abstract_name_connects(loop: Loop, kind: Any) -> None:
    name = f"\0ferrio-{uuid.uuid4()}"
    encoded = name.encode()
    assert run(loop, exchange(loop, kind(name))) == (encoded, encoded)


@since_3_13
def test_closing_a_server_removes_its_path(loop: Loop, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server = run(loop, loop.create_unix_server(Recorder, path))
    assert path.exists()
    server.close()
    assert not path.exists()
    run(loop, server.wait_closed())


@since_3_13
def test_closing_a_server_keeps_its_path_when_asked_to(loop: Loop, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server = run(loop, loop.create_unix_server(Recorder, path, cleanup_socket=False))
    server.close()
    run(loop, server.wait_closed())
    assert path.exists()


@since_3_13
def test_closing_a_server_keeps_a_path_that_another_has_taken(loop: Loop, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    first = run(loop, loop.create_unix_server(Recorder, path))
    path.unlink()
    second = run(loop, loop.create_unix_server(Recorder, path))
    first.close()
    assert path.exists()
    second.close()
    assert not path.exists()
    for server in (first, second):
        run(loop, server.wait_closed())


def test_a_path_left_behind_by_a_dead_server_is_taken_over(loop: Loop, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert run(loop, exchange(loop, str(path)))


def test_a_file_in_the_way_is_told(loop: Loop, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(OSError, match="already in use"):
        run(loop, loop.create_unix_server(Recorder, path))
    assert path.exists()


def test_a_path_where_nobody_listens_is_told(loop: Loop, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run(loop, loop.create_unix_connection(Recorder, tmp_path / "nobody"))


def test_credentials_and_descriptors_can_be_sent_beside_the_transport(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    transport, protocol = run(loop, loop.create_unix_connection(Recorder, sock=ours))
    credentials = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    assert int.from_bytes(credentials[:4], sys.byteorder) == os.getpid()
    transport.close()
    run_until(loop, lambda: protocol.is_lost)
    theirs.close()
