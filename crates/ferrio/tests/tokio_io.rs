//! tokio's traits of reading and writing.
#![cfg(feature = "tokio-io")]

use std::future::poll_fn;
use std::io;
use std::pin::Pin;

use ferrio::net::{TcpListener, TcpStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

async fn read(mut from: impl AsyncRead + Unpin) -> io::Result<Vec<u8>> {
    let mut room = [0; 100];
    let mut buffer = ReadBuf::new(&mut room);
    poll_fn(|context| Pin::new(&mut from).poll_read(context, &mut buffer)).await?;
    Ok(buffer.filled().to_vec())
}

async fn write(mut to: impl AsyncWrite + Unpin, bytes: &[u8]) -> io::Result<()> {
    let count = poll_fn(|context| Pin::new(&mut to).poll_write(context, bytes)).await?;
    assert_eq!(count, bytes.len(), "there is room");
    poll_fn(|context| Pin::new(&mut to).poll_flush(context)).await?;
    poll_fn(|context| Pin::new(&mut to).poll_shutdown(context)).await
}

#[test]
fn sockets_and_streams_read_and_write() {
    ferrio::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut client = TcpStream::connect(listener.local_addr()?).await?;
        let (mut reader, mut writer) = listener.accept().await?.0.into_split();
        write(&mut client, b"ping").await?;
        assert_eq!(read(&mut reader).await?, b"ping");
        assert_eq!(read(&mut reader).await?, b"");
        write(&mut writer, b"pong").await?;
        assert_eq!(read(&mut client).await?, b"pong");
        assert_eq!(read(&mut client).await?, b"");
        io::Result::Ok(())
    })
    .expect("nothing fails");
}
