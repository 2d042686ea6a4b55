//! An echo server on Ferrio: `echo_ferrio` with plain sockets, `echo_ferrio streams` with asyncio's streams.

use std::io;

use ferrio::net::TcpListener;
use futures_lite::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use rust_benchmarks::{BUFFER_BYTES, announce};

fn main() -> io::Result<()> {
    if std::env::args().nth(1).as_deref() == Some("streams") { ferrio::run(streams()) } else { ferrio::run(sockets()) }
}

async fn sockets() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    announce(listener.local_addr())?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        ferrio::spawn(async move {
            let mut buffer = vec![0; BUFFER_BYTES];
            loop {
                match stream.read(&mut buffer).await? {
                    0 => return io::Result::Ok(()),
                    count => stream.write_all(&buffer[..count]).await?,
                }
            }
        });
    }
}

async fn streams() -> io::Result<()> {
    let server = ferrio::start_server("127.0.0.1:0", async |mut reader, mut writer| {
        loop {
            let bytes = reader.fill_buf().await?;
            if bytes.is_empty() {
                return io::Result::Ok(());
            }
            writer.write(bytes);
            let count = bytes.len();
            reader.consume(count);
            writer.drain().await?;
        }
    })
    .await?;
    announce(Ok(server.local_addr()))?;
    match server.serve_forever().await {}
}
