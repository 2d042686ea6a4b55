//! Fetches several pages at a time: `cargo run -p ferrio --example scrape -- http://host/path ...`.
//!
//! At most `AT_ONCE` are under way, and the progress goes to standard error. HTTP is only as much of it as a first program
//! wants: a request of HTTP/1.0 over a plain connection, and the body of the answer.

use std::cell::Cell;
use std::error::Error;
use std::io;
use std::time::Duration;

use ferrio::{Semaphore, join_all, open_connection, timeout};

const AT_ONCE: usize = 10;

/// For one page.
const LIMIT: Duration = Duration::from_secs(30);

async fn fetch(url: &str) -> io::Result<String> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidInput, format!("{url}: not an http:// address"));
    let rest = url.strip_prefix("http://").ok_or_else(wrong)?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let (mut reader, mut writer) = open_connection(address).await?;
    writer.write(format!("GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes());
    reader.readuntil(b"\r\n\r\n").await?;
    let body = reader.read_to_end().await?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

async fn scrape(urls: &[String]) -> Vec<io::Result<String>> {
    let (semaphore, done) = (Semaphore::new(AT_ONCE), Cell::new(0));
    let fetches = urls.iter().map(async |url| {
        let _one_of_few = semaphore.acquire().await;
        let page = timeout(LIMIT, fetch(url)).await;
        done.set(done.get() + 1);
        eprintln!("{} of {}", done.get(), urls.len());
        page?
    });
    join_all(fetches).await
}

fn main() -> Result<(), Box<dyn Error>> {
    let urls: Vec<String> = std::env::args().skip(1).collect();
    for page in ferrio::run(scrape(&urls)) {
        println!("{}", page?);
    }
    Ok(())
}
