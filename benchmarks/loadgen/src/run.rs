//! The run: connect, warm up, measure, let the last echoes arrive, report.
//!
//! Connecting goes by batches, and a connection waits with its second message until all have had their first back. No
//! queue of the server's can overflow, and what accepting costs is not measured.
//!
//! A phase ends between two batches of events, and its length is taken from the clock there, so every message of the
//! window and every nanosecond of the server's CPU time in it are counted over the same interval.
//!
//! A latency runs from just before the `write` to the moment this program has read the last byte; like every client on
//! one thread, it includes the wait behind the other connections' replies of the same batch.

use std::fmt::Write as _;
use std::io;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::CpuSet;

use crate::connection::{Connection, Received, Sent};
use crate::cpu_clock;
use crate::histogram::Histogram;
use crate::http::ANSWER_BYTES;
use crate::options::Options;
use crate::payload::Payload;

/// How often the clock is looked at when no event arrives.
const IDLE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// How long the last echoes may take after the measurement.
const DRAIN: Duration = Duration::from_secs(2);
/// Connections that are opened before one of them has been answered: less than any server's backlog.
const CONNECT_AT_ONCE: usize = 100;
/// Events taken from the kernel at once.
const BATCH: usize = 1024;

/// Why there is no result.
pub(crate) enum Failure {
    System { doing: &'static str, error: io::Error },
    Bytes(String),
}

fn system<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> Failure {
    move |error| Failure::System { doing, error: error.into() }
}

pub(crate) struct Report {
    connections: usize,
    size_bytes: usize,
    messages: u64,
    elapsed: Duration,
    latencies: Histogram,
    errors: u64,
    client_cpu: Duration,
    server_cpu: Option<Duration>,
}

impl Report {
    pub(crate) fn to_json(&self) -> String {
        let seconds = self.elapsed.as_secs_f64();
        let mut json = format!(
            "{{\"connections\": {}, \"size\": {}, \"messages\": {}, \"seconds\": {seconds:.6}, \"messages_per_s\": {:.1}",
            self.connections,
            self.size_bytes,
            self.messages,
            self.messages_per_s(),
        );
        let latencies = [
            ("p50", self.latencies.percentile_ns(500)),
            ("p99", self.latencies.percentile_ns(990)),
            ("p999", self.latencies.percentile_ns(999)),
            ("max", self.latencies.max_ns()),
        ];
        for (name, nanos) in latencies {
            let latency = Duration::from_nanos(nanos).as_secs_f64() * 1e6;
            let _ = write!(json, ", \"{name}_us\": {latency:.3}");
        }
        let _ = write!(
            json,
            ", \"errors\": {}, \"client_cpu_s\": {:.6}, \"server_cpu_s\": ",
            self.errors,
            self.client_cpu.as_secs_f64()
        );
        match self.server_cpu {
            Some(time) => _ = write!(json, "{:.6}}}", time.as_secs_f64()),
            None => json.push_str("null}"),
        }
        json
    }

    fn messages_per_s(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^52 messages")]
        let messages = self.messages as f64;
        messages / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// The clocks of one moment.
struct Mark {
    wall: Instant,
    client_cpu: Duration,
    server_cpu: Option<Duration>,
}

impl Mark {
    fn now(options: &Options) -> Result<Self, Failure> {
        let server_cpu = options.cpu_of.map(cpu_clock::of_process).transpose().map_err(system("server's CPU clock"))?;
        Ok(Self { wall: Instant::now(), client_cpu: cpu_clock::own(), server_cpu })
    }
}

enum Phase {
    Connect,
    WarmUp { until: Instant },
    Measure { begin: Mark, until: Instant },
    Drain { until: Instant },
}

pub(crate) fn run(options: &Options) -> Result<Report, Failure> {
    if let Some(core) = options.core {
        pin(core).map_err(system("pinning to the core"))?;
    }
    raise_descriptor_limit();
    let mut clients = Clients::new(options)?;
    let mut report = Report {
        connections: options.connections,
        size_bytes: options.size_bytes,
        messages: 0,
        elapsed: Duration::ZERO,
        latencies: Histogram::new(),
        errors: 0,
        client_cpu: Duration::ZERO,
        server_cpu: None,
    };
    let mut events = Vec::with_capacity(BATCH);
    let mut phase = Phase::Connect;

    while clients.open > 0 {
        if matches!(phase, Phase::Connect) && clients.unanswered == 0 && !clients.connect_more(options, &mut report)? {
            phase = Phase::WarmUp { until: Instant::now() + options.warmup };
            clients.start_all(&mut report)?;
        }
        events.clear();
        match epoll::wait(&clients.epoll, rustix::buffer::spare_capacity(&mut events), Some(&IDLE)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(system("epoll_wait")(error)),
        }
        let now = Instant::now();
        phase = match phase {
            Phase::WarmUp { until } if now >= until => {
                Phase::Measure { begin: Mark::now(options)?, until: now + options.measured }
            }
            Phase::Measure { begin, until } if now >= until => {
                report.close_window(&begin, &Mark::now(options)?);
                Phase::Drain { until: now + DRAIN }
            }
            Phase::Drain { until } if now >= until => {
                report.errors += clients.open as u64;
                return Ok(report);
            }
            unchanged => unchanged,
        };
        for event in &events {
            clients.on_event(event, &phase, &mut report)?;
        }
    }
    if let Phase::Measure { begin, .. } = &phase {
        // Every connection was lost: the messages so far, over the time they took.
        report.close_window(begin, &Mark::now(options)?);
    }
    Ok(report)
}

impl Report {
    fn close_window(&mut self, begin: &Mark, end: &Mark) {
        self.messages = self.latencies.total();
        self.elapsed = end.wall - begin.wall;
        self.client_cpu = end.client_cpu.saturating_sub(begin.client_cpu);
        self.server_cpu = end.server_cpu.zip(begin.server_cpu).map(|(end, begin)| end.saturating_sub(begin));
    }
}

/// All connections and the epoll that watches them.
struct Clients {
    epoll: rustix::fd::OwnedFd,
    connections: Vec<Option<Connection>>,
    /// Connections with a message under way.
    open: usize,
    /// Connections of the last batch that have had no message back yet.
    unanswered: usize,
    scratch: Vec<u8>,
}

const READABLE: epoll::EventFlags = epoll::EventFlags::IN.union(epoll::EventFlags::ET);
const WRITABLE_TOO: epoll::EventFlags = READABLE.union(epoll::EventFlags::OUT);

impl Clients {
    fn new(options: &Options) -> Result<Self, Failure> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).map_err(system("epoll_create"))?,
            connections: Vec::with_capacity(options.connections),
            open: options.connections,
            unanswered: 0,
            scratch: vec![0; (options.size_bytes.max(options.then_bytes) + 1).max(ANSWER_BYTES)],
        })
    }

    /// Opens the next batch and sends its first messages; false when all are open.
    fn connect_more(&mut self, options: &Options, report: &mut Report) -> Result<bool, Failure> {
        let first = self.connections.len();
        let end = (first + CONNECT_AT_ONCE).min(options.connections);
        for number in first..end {
            let connection =
                Connection::open(&options.target, number, options.lengths(), options.lines, options.http.as_deref())
                    .map_err(system("connecting"))?;
            epoll::add(&self.epoll, &connection, epoll::EventData::new_u64(number as u64), READABLE)
                .map_err(system("epoll_ctl"))?;
            self.connections.push(Some(connection));
        }
        self.unanswered = end - first;
        for number in first..end {
            self.send(number, report)?;
        }
        Ok(first < end)
    }

    /// Sends every connection's second message.
    fn start_all(&mut self, report: &mut Report) -> Result<(), Failure> {
        for number in 0..self.connections.len() {
            if let Some(connection) = &mut self.connections[number] {
                connection.start_next(Instant::now());
            }
            self.send(number, report)?;
        }
        Ok(())
    }

    fn on_event(&mut self, event: &epoll::Event, phase: &Phase, report: &mut Report) -> Result<(), Failure> {
        #[expect(clippy::cast_possible_truncation, reason = "the number is the index it was registered with")]
        let number = event.data.u64() as usize;
        let flags = event.flags;
        if flags.contains(epoll::EventFlags::OUT) {
            self.send(number, report)?;
        }
        let Some(connection) = &mut self.connections[number] else {
            return Ok(());
        };
        match connection.receive(&mut self.scratch) {
            Ok(Received::Part) => Ok(()),
            Ok(Received::Complete) => {
                let now = Instant::now();
                match phase {
                    Phase::Connect => {
                        connection.answered = true;
                        self.unanswered -= 1;
                        return Ok(());
                    }
                    Phase::Drain { .. } => {
                        self.open -= 1;
                        self.connections[number] = None;
                        return Ok(());
                    }
                    Phase::Measure { .. } => report.latencies.record(now - connection.started()),
                    Phase::WarmUp { .. } => {}
                }
                connection.start_next(now);
                self.send(number, report)
            }
            Ok(Received::Wrong { at, bytes }) => Err(Failure::Bytes(self.explain(number, at, &bytes))),
            Ok(Received::WrongAnswer(sentence)) => Err(Failure::Bytes(sentence)),
            Ok(Received::Closed) | Err(_) => {
                self.lose(number, report);
                Ok(())
            }
        }
    }

    /// Sends what is left of the message; watches for room only while the kernel has taken a part.
    fn send(&mut self, number: usize, report: &mut Report) -> Result<(), Failure> {
        let Some(connection) = &mut self.connections[number] else {
            return Ok(());
        };
        let was_waiting = connection.waits_for_room;
        match connection.send() {
            Ok(sent) => {
                connection.waits_for_room = sent == Sent::Part;
                if connection.waits_for_room != was_waiting {
                    let flags = if connection.waits_for_room { WRITABLE_TOO } else { READABLE };
                    epoll::modify(&self.epoll, &*connection, epoll::EventData::new_u64(number as u64), flags)
                        .map_err(system("epoll_ctl"))?;
                }
            }
            Err(_) => self.lose(number, report),
        }
        Ok(())
    }

    fn lose(&mut self, number: usize, report: &mut Report) {
        let lost = self.connections[number].take();
        self.unanswered -= usize::from(lost.is_some_and(|connection| !connection.answered));
        self.open -= 1;
        report.errors += 1;
    }

    /// Says whose the wrong bytes are, as far as the messages under way tell.
    fn explain(&self, number: usize, at: usize, bytes: &[u8]) -> String {
        let sequence = self.connections[number].as_ref().and_then(Connection::payload).map_or(0, Payload::sequence);
        let place = format!("connection {number}, message {sequence}, byte {at}");
        // Fewer bytes would fit some connection by chance.
        let evidence = &bytes[..bytes.len().min(16)];
        if evidence.len() >= 4 {
            let owner = self
                .connections
                .iter()
                .enumerate()
                .filter(|(index, _)| *index != number)
                .find_map(|(index, other)| Some((index, other.as_ref()?.payload()?.owner(at, evidence)?)));
            if let Some((index, message)) = owner {
                return format!("byte from another connection: {place} is message {message} of connection {index}");
            }
        }
        format!("byte that was not sent: {place} came back as {evidence:02x?}")
    }
}

/// As many descriptors as this process may have. With too few, connecting fails and says so.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn pin(core: usize) -> rustix::io::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    rustix::thread::sched_setaffinity(None, &cores)
}
