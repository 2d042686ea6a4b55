//! A port forwarder: `cargo run -p ferrio --example forward -- 127.0.0.1:8888 example.org:80`.

use std::io;

use ferrio::net::{TcpListener, TcpStream};
use ferrio::task_group;
use futures_lite::AsyncWriteExt;

async fn one_way(from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    futures_lite::io::copy(from, to).await?;
    // The end of one direction goes on as well; the other direction stays open.
    to.close().await
}

async fn forward(client: TcpStream, target: &str) -> io::Result<()> {
    let server = TcpStream::connect(target).await?;
    // An error of one direction ends both.
    futures_lite::future::try_zip(one_way(&client, &server), one_way(&server, &client)).await?;
    Ok(())
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(from), Some(to)) = (arguments.next(), arguments.next()) else {
        return Err(io::Error::other("usage: forward FROM TO, each as HOST:PORT"));
    };
    ferrio::run(async {
        let listener = TcpListener::bind(from).await?;
        println!("listening at {}", listener.local_addr()?);
        let forwarding = task_group(async |group: ferrio::TaskGroup<io::Error>| {
            loop {
                let (client, _) = listener.accept().await?;
                let to = to.clone();
                // Connections end together with the program, and one that fails ends nothing else.
                group.spawn(async move {
                    if let Err(error) = forward(client, &to).await {
                        eprintln!("{error}");
                    }
                    Ok(())
                });
            }
        });
        forwarding.await.map_err(io::Error::other)
    })
}
