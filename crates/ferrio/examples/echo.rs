//! An echo server that ends gracefully with Control-C: `cargo run -p ferrio --example echo -- 127.0.0.1:8888`.

use std::io;

use ferrio::net::{StreamReader, StreamWriter};

const SIGINT: i32 = 2;

async fn echo(mut reader: StreamReader, mut writer: StreamWriter) -> io::Result<()> {
    loop {
        let bytes = reader.read_some(64 * 1024).await?;
        if bytes.is_empty() {
            return Ok(());
        }
        writer.write(&bytes);
        writer.drain().await?;
    }
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8888".to_owned());
    ferrio::run(async {
        let mut interrupts = ferrio::signal(SIGINT)?;
        let server = ferrio::start_server(address, echo).await?;
        println!("listening at {}", server.local_addr());
        interrupts.recv().await?;
        server.close();
        println!("waiting for the connections to end; once more, and they are cut");
        let cut = interrupts.recv();
        let ended = async {
            server.wait_closed().await;
            Ok(())
        };
        futures_lite::future::or(ended, cut).await
    })
}
