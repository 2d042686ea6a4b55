//! The examples do what they say: each is run as a program.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// Longer than anything takes.
const LIMIT: Duration = Duration::from_secs(60);

/// Where cargo puts an example, seen from where it puts this test.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().expect("this test has a file");
    let folder: PathBuf = test.ancestors().nth(2).expect("a folder of the profile").join("examples");
    Command::new(folder.join(name))
}

/// Ended when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server, and waits until it says where it listens.
fn start(name: &str, arguments: &[&str]) -> (Running, BufReader<impl Read + use<>>, SocketAddr) {
    let mut child = example(name).args(arguments).stdout(Stdio::piped()).spawn().expect("cargo has built it");
    let mut output = BufReader::new(child.stdout.take().expect("it is a pipe"));
    let running = Running(child);
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    let address = line.trim().rsplit(' ').next().and_then(|address| address.parse().ok());
    (running, output, address.expect("it listens somewhere"))
}

fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a socket");
    BufReader::new(stream)
}

fn line_of(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).expect("a line");
    line
}

#[test]
fn hello_greets_twice_at_a_time() {
    let output = example("hello").output().expect("cargo has built it");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Hello\nHello\nWorld\nWorld\n");
}

#[test]
fn scrape_prints_the_pages_in_the_order_of_their_addresses() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it has one");
    let serving = thread::spawn(move || {
        for _ in 0..20 {
            let (stream, _) = listener.accept()?;
            let mut stream = BufReader::new(stream);
            let (mut request, mut line) = (String::new(), String::new());
            stream.read_line(&mut request)?;
            while line != "\r\n" {
                line.clear();
                stream.read_line(&mut line)?;
            }
            let path = request.split(' ').nth(1).unwrap_or_default();
            write!(stream.get_mut(), "HTTP/1.0 200 OK\r\n\r\nthe page {path}")?;
        }
        io::Result::Ok(())
    });
    let urls = (0..20).map(|page| format!("http://{address}/{page}"));
    let output = example("scrape").args(urls).output().expect("cargo has built it");
    let expected = (0..20).map(|page| format!("the page /{page}\n")).collect::<Vec<_>>().concat();
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    assert!(String::from_utf8_lossy(&output.stderr).ends_with("20 of 20\n"));
    serving.join().expect("it does not panic").expect("nothing fails");
}

#[test]
fn echo_ends_gracefully_with_an_interrupt() {
    let (mut running, mut output, address) = start("echo", &["127.0.0.1:0"]);
    let mut client = connect(address);
    client.get_mut().write_all(b"line\n").expect("it reads");
    assert_eq!(line_of(&mut client), "line\n");
    let interrupted = Command::new("kill").args(["-INT", &running.0.id().to_string()]).status();
    assert!(interrupted.expect("there is a kill").success());
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    assert!(line.starts_with("waiting for the connections"));
    client.get_mut().write_all(b"another\n").expect("it reads still");
    assert_eq!(line_of(&mut client), "another\n");
    drop(client);
    assert!(running.0.wait().expect("it ends").success());
}

#[test]
fn chat_tells_everybody_else() {
    let (_running, _output, address) = start("chat", &["127.0.0.1:0"]);
    let mut first = connect(address);
    let mut second = connect(address);
    let arrived = line_of(&mut first);
    assert!(arrived.ends_with(": is here\n"));
    second.get_mut().write_all(b"hello\n").expect("it reads");
    assert_eq!(line_of(&mut first), arrived.replace("is here", "hello"));
    drop(second);
    assert_eq!(line_of(&mut first), arrived.replace("is here", "has gone"));
}

#[test]
fn forward_carries_both_directions_to_their_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = listener.local_addr().expect("it has one").to_string();
    let (_running, _output, address) = start("forward", &["127.0.0.1:0", &target]);
    let mut client = connect(address);
    let (mut server, _) = listener.accept().expect("it is forwarded");
    client.get_mut().write_all(b"question").expect("it reads");
    client.get_ref().shutdown(std::net::Shutdown::Write).expect("a socket");
    let (mut question, mut answer) = (String::new(), String::new());
    server.read_to_string(&mut question).expect("it ends");
    server.write_all(b"answer").expect("it reads");
    drop(server);
    client.read_to_string(&mut answer).expect("it ends");
    assert_eq!((&*question, &*answer), ("question", "answer"));
}
