//! A chat: each line of a client goes to all others. `cargo run -p ferrio --example chat`, then `nc localhost 8888`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use ferrio::net::{StreamReader, StreamWriter};
use ferrio::{PutError, Queue};

/// Lines that wait for a client who does not read; the next one ends the connection.
const MOST_LINES: usize = 1000;

type Lines = Rc<Queue<Rc<[u8]>>>;

/// Who is there. State is shared by `Rc` and `RefCell`: everything runs on one thread.
#[derive(Default)]
struct Room {
    clients: RefCell<BTreeMap<u64, Lines>>,
}

impl Room {
    fn say(&self, from: u64, text: &[u8]) {
        let line: Rc<[u8]> = [format!("{from}: ").as_bytes(), text].concat().into();
        for (_, lines) in self.clients.borrow().iter().filter(|(client, _)| **client != from) {
            if let Err(PutError::Full(_)) = lines.put_nowait(Rc::clone(&line)) {
                lines.shut_down();
            }
        }
    }
}

/// A client is in the room until this is dropped.
struct Presence {
    room: Rc<Room>,
    number: u64,
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.room.clients.borrow_mut().remove(&self.number);
        self.room.say(self.number, b"has gone\n");
    }
}

async fn chat(room: Rc<Room>, mut reader: StreamReader, mut writer: StreamWriter) -> io::Result<()> {
    let lines: Lines = Rc::new(Queue::bounded(MOST_LINES));
    let number = room.clients.borrow().last_key_value().map_or(1, |(last, _)| last + 1);
    room.clients.borrow_mut().insert(number, Rc::clone(&lines));
    let presence = Presence { room: Rc::clone(&room), number };
    room.say(number, b"is here\n");
    let hearing = async {
        while let Ok(line) = lines.get().await {
            writer.write(&line);
            writer.drain().await?;
        }
        io::Result::Ok(())
    };
    let speaking = async {
        loop {
            let line = reader.readline().await?;
            if line.is_empty() {
                return Ok(());
            }
            presence.room.say(number, &line);
        }
    };
    // Whichever ends first ends the other.
    futures_lite::future::or(hearing, speaking).await
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8888".to_owned());
    ferrio::run(async {
        let room = Rc::<Room>::default();
        let server =
            ferrio::start_server(address, move |reader, writer| chat(Rc::clone(&room), reader, writer)).await?;
        println!("listening at {}", server.local_addr());
        match server.serve_forever().await {}
    })
}
