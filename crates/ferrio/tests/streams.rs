//! Streams, sockets and servers between peers that do what peers do.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpListener as StdListener;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use ferrio::net::{TcpListener, TcpStream, UdpSocket, UnixStream, resolve, start_unix_server};
use ferrio::{gather, open_connection, run, sleep, spawn, start_server, timeout, yield_now};
use futures_lite::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

/// Longer than anything takes.
const LIMIT: Duration = Duration::from_secs(60);

/// Two ends of a connection over loopback.
async fn tcp_pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (near, far) = gather!(TcpStream::connect(address), listener.accept());
    Ok((near?, far?.0))
}

/// Bytes that show where they belong.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at * 7 % 251).expect("it fits")).collect()
}

#[test]
fn all_bytes_arrive_in_order_whatever_their_number() {
    for length in [1, 1000, 8192, 65_536, 65_537, 1 << 20, 10 << 20] {
        let received = run(async {
            let (near, far) = tcp_pair().await?;
            let sending = async move {
                let (_reader, mut writer) = near.into_split();
                for piece in pattern(length).chunks(10_000) {
                    writer.write(piece);
                    writer.drain().await?;
                }
                writer.close().await
            };
            let receiving = async move { far.into_split().0.read_to_end().await };
            let (sent, received) = gather!(sending, receiving);
            sent.and(received)
        });
        assert!(received.expect("nothing fails") == pattern(length), "{length}");
    }
}

#[test]
fn plain_sockets_echo_large_messages() {
    let echoed = run(async {
        let (mut near, far) = tcp_pair().await?;
        let echoing = spawn(async move { futures_lite::io::copy(&far, &far).await });
        let sent = pattern(3 << 20);
        let mut received = vec![0; sent.len()];
        let near_too = &near;
        let (mut reading, mut writing) = (near_too, near_too);
        let (wrote, read) = gather!(writing.write_all(&sent), reading.read_exact(&mut received));
        wrote.and(read)?;
        near.close().await?;
        assert_eq!(echoing.await.expect("nobody cancels it")?, 3 << 20);
        io::Result::Ok(received == sent)
    });
    assert!(echoed.expect("nothing fails"));
}

#[test]
fn what_a_writer_has_written_leaves_though_it_is_dropped() {
    let length = 4 << 20;
    let received = run(async {
        let (near, far) = UnixStream::pair()?;
        let (_reader, mut writer) = near.into_split();
        writer.write(&pattern(length));
        yield_now().await;
        assert!(writer.unsent_bytes() > 0, "the kernel takes only a part");
        drop(writer);
        far.into_split().0.read_to_end().await
    });
    assert!(received.expect("nothing fails") == pattern(length));
}

#[test]
fn both_halves_dropped_with_bytes_to_send_close_the_connection_behind_them() {
    let length = 4 << 20;
    let (received, sockets) = run(async {
        let (near, far) = UnixStream::pair()?;
        let (reader, mut writer) = near.into_split();
        writer.write(&pattern(length));
        drop((reader, writer));
        let received = far.into_split().0.read_to_end().await?;
        yield_now().await;
        io::Result::Ok((received, ferrio::statistics().sockets))
    })
    .expect("nothing fails");
    assert!(received == pattern(length));
    assert_eq!(sockets, 0);
}

#[test]
fn a_reset_of_the_peer_comes_to_whoever_drains() {
    run(async {
        let (near, far) = tcp_pair().await?;
        let (mut reader, mut writer) = near.into_split();
        writer.write(b"unread");
        yield_now().await;
        // Unread bytes make the close a reset.
        drop(far);
        assert_eq!(reader.read_some(100).await.expect_err("it is reset").kind(), ErrorKind::ConnectionReset);
        writer.write(&pattern(100));
        assert_eq!(writer.flush().await.expect_err("it is reset").kind(), ErrorKind::BrokenPipe);
        writer.write(b"dropped");
        assert_eq!(writer.unsent_bytes(), 0);
        io::Result::Ok(())
    })
    .expect("nothing else fails");
}

#[test]
fn a_reader_gives_lines_and_pieces() {
    run(async {
        let (one, other) = UnixStream::pair()?;
        let ((mut reader, _), (_, mut writer)) = (one.into_split(), other.into_split());
        let writing = spawn(async move {
            for piece in ["a li", "ne\nand ano", "ther\r", "\n\r\nrest"] {
                writer.write(piece.as_bytes());
                yield_now().await;
            }
        });
        assert_eq!(reader.readline().await?, b"a line\n");
        assert_eq!(reader.readuntil(b"\r\n\r\n").await?, b"and another\r\n\r\n");
        assert_eq!(reader.readexactly(5).await.expect_err("it ends").kind(), ErrorKind::UnexpectedEof);
        assert!(!reader.at_eof());
        assert_eq!(reader.readline().await?, b"rest");
        assert_eq!(reader.readline().await?, b"");
        assert!(reader.at_eof());
        assert_eq!(writing.await, Ok(()));

        let (one, other) = UnixStream::pair()?;
        let ((reader, _), (_, mut writer)) = (one.into_split(), other.into_split());
        let mut reader = reader.with_limit(10);
        writer.write(b"0123456789012\nline\n");
        assert_eq!(reader.readline().await.expect_err("it is too long").kind(), ErrorKind::InvalidData);
        assert_eq!(reader.readexactly(14).await?, b"0123456789012\n");
        let mut line = String::new();
        reader.read_line(&mut line).await?;
        assert_eq!(line, "line\n");
        io::Result::Ok(())
    })
    .expect("nothing else fails");
}

#[test]
fn a_read_that_is_dropped_has_taken_nothing() {
    run(async {
        let (one, other) = UnixStream::pair()?;
        let ((mut reader, _), (_, mut writer)) = (one.into_split(), other.into_split());
        writer.write(b"half a ");
        assert!(timeout(Duration::from_millis(1), reader.readline()).await.is_err());
        writer.write(b"line\n");
        assert_eq!(reader.readline().await?, b"half a line\n");
        io::Result::Ok(())
    })
    .expect("nothing else fails");
}

#[test]
fn a_peer_that_is_always_ready_does_not_keep_others_from_running() {
    run(async {
        let (one, other) = UnixStream::pair()?;
        let both_ways = spawn(async move {
            let mut buffer = [0; 1];
            let (mut one, mut other) = (one, other);
            loop {
                // Each call is ready when it is made.
                one.write_all(b"x").await.expect("there is room");
                other.read_exact(&mut buffer).await.expect("it is there");
            }
        });
        sleep(Duration::from_millis(1)).await;
        both_ways.cancel();
        io::Result::Ok(())
    })
    .expect("nothing fails");
}

#[test]
fn a_server_serves_while_it_is_there_and_closes_gracefully() {
    run(async {
        let count = Rc::new(Cell::new(0));
        let there = Rc::clone(&count);
        let server = start_server("127.0.0.1:0", move |mut reader, mut writer| {
            let count = Rc::clone(&there);
            async move {
                let line = reader.readline().await?;
                writer.write(&line);
                count.set(count.get() + 1);
                io::Result::Ok(())
            }
        })
        .await?;
        let address = server.local_addr();
        let clients: Vec<_> = (0..50)
            .map(|number| {
                spawn(async move {
                    let (mut reader, mut writer) = open_connection(address).await?;
                    let line = format!("client {number}\n");
                    writer.write(line.as_bytes());
                    assert_eq!(reader.read_to_end().await?, line.as_bytes());
                    io::Result::Ok(())
                })
            })
            .collect();
        let (mut slow_reader, mut slow) = open_connection(address).await?;
        for client in ferrio::join_all(clients).await {
            client.expect("nobody cancels it")?;
        }
        server.close();
        // The connection that is there may end first.
        assert!(timeout(Duration::from_millis(1), server.wait_closed()).await.is_err());
        assert_eq!(TcpStream::connect(address).await.expect_err("it is closed").kind(), ErrorKind::ConnectionRefused);
        slow.write(b"late\n");
        assert_eq!(slow_reader.read_to_end().await?, b"late\n");
        timeout(LIMIT, server.wait_closed()).await?;
        assert_eq!(count.get(), 51);
        io::Result::Ok(())
    })
    .expect("nothing else fails");
}

#[test]
fn a_handler_that_panics_ends_its_own_connection() {
    run(async {
        let server = start_server("127.0.0.1:0", async |mut reader, mut writer| {
            let line = reader.readline().await.expect("a line");
            assert_ne!(line, b"panic\n", "as the client wants it");
            writer.write(&line);
        })
        .await?;
        for (sent, expected) in [("panic\n", ""), ("fine\n", "fine\n")] {
            let (mut reader, mut writer) = open_connection(server.local_addr()).await?;
            writer.write(sent.as_bytes());
            assert_eq!(reader.read_to_end().await?, expected.as_bytes());
        }
        io::Result::Ok(())
    })
    .expect("nothing else fails");
}

#[test]
fn blocking_peers_of_the_standard_library_are_served() {
    let listener = StdListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it has one");
    let peer = thread::spawn(move || {
        let (mut connection, _) = listener.accept()?;
        let mut received = [0; 5];
        connection.read_exact(&mut received)?;
        connection.write_all(&received)
    });
    run(async {
        let mut stream = TcpStream::connect(("localhost", address.port())).await?;
        assert_eq!(stream.peer_addr()?, address);
        stream.write_all(b"hello").await?;
        let mut echoed = String::new();
        stream.read_to_string(&mut echoed).await?;
        assert_eq!(echoed, "hello");
        io::Result::Ok(())
    })
    .expect("nothing fails");
    peer.join().expect("it does not panic").expect("nothing fails");
}

#[test]
fn a_socket_of_a_closed_loop_answers_with_an_error() {
    let (mut stream, _other) = run(async { UnixStream::pair() }).expect("two sockets");
    let mut buffer = [0; 1];
    let outcome = run(async { stream.read(&mut buffer).await });
    assert!(outcome.expect_err("it is too late").to_string().contains("loop has closed"));
    let (mut reader, mut writer) = stream.into_split();
    let outcome = run(async {
        writer.write(b"nowhere");
        (writer.flush().await, reader.read_some(1).await)
    });
    assert!(outcome.0.is_err() && outcome.1.is_err());
}

#[test]
fn nobody_listening_is_a_refusal_and_a_wrong_name_an_error() {
    run(async {
        let gone = StdListener::bind("127.0.0.1:0").and_then(|gone| gone.local_addr()).expect("a port");
        let refused = open_connection(gone).await.expect_err("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert!(resolve("no port").await.is_err());
        assert!(resolve(("name.invalid", 80)).await.is_err());
        let path = std::env::temp_dir().join("ferrio-nothing-is-here");
        assert_eq!(UnixStream::connect(path).await.expect_err("nothing is there").kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_connection_waits_for_a_listener_whose_queue_is_full() {
    let path = std::env::temp_dir().join(format!("ferrio-full-queue-{}", std::process::id()));
    run(async {
        let connections = Rc::new(RefCell::new(Vec::new()));
        let there = Rc::clone(&connections);
        let server = start_unix_server(&path, move |reader, writer| {
            there.borrow_mut().push((reader, writer));
            async {}
        })?;
        let clients = (0..1000).map(|_| UnixStream::connect(&path));
        let clients = timeout(LIMIT, ferrio::try_join_all(clients)).await??;
        assert_eq!(clients.len(), 1000);
        drop(server);
        io::Result::Ok(())
    })
    .expect("nothing fails");
    std::fs::remove_file(path).expect("it is there");
}

#[test]
fn several_tasks_share_a_datagram_socket() {
    run(async {
        let (near, far) = (Rc::new(UdpSocket::bind("127.0.0.1:0").await?), UdpSocket::bind("127.0.0.1:0").await?);
        let receive = || {
            let near = Rc::clone(&near);
            spawn(async move {
                let mut buffer = [0; 10];
                near.recv_from(&mut buffer).await.map(|(count, _)| buffer[..count].to_vec())
            })
        };
        let (first, dropped, second) = (receive(), receive(), receive());
        yield_now().await;
        dropped.cancel();
        far.connect(near.local_addr()?).await?;
        far.send(b"one").await?;
        far.send(b"two").await?;
        let (first, second) = timeout(LIMIT, async { gather!(first, second) }).await?;
        let mut both = [first.expect("it runs")?, second.expect("it runs")?];
        both.sort();
        assert_eq!(both, [b"one", b"two"]);
        io::Result::Ok(())
    })
    .expect("nothing fails");
}

#[test]
fn signals_come_to_whoever_awaits_them() {
    run(async {
        let mut signals = [ferrio::signal(10)?, ferrio::signal(10)?];
        for _ in 0..3 {
            let pid = std::process::id().to_string();
            let sent =
                ferrio::spawn_blocking(move || std::process::Command::new("kill").args(["-USR1", &pid]).status());
            assert!(sent.await?.success());
            for each in &mut signals {
                timeout(LIMIT, each.recv()).await??;
            }
        }
        assert!(timeout(Duration::from_millis(1), signals[0].recv()).await.is_err());
        io::Result::Ok(())
    })
    .expect("nothing fails");
}
