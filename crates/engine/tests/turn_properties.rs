//! Turns of a reactor over the scripted backend, in its virtual time, against a model that is a few sorted lists.
//!
//! The test is the reactor's caller: it turns announcements into entries and runs what [`Ready::turn`] counts. What an
//! entry does when it is run comes from a tape, which the reactor's run and the model's run read at the same pace.
//!
//! [`Ready::turn`]: ferrio_engine::queue::Ready::turn
#![cfg(not(loom))]

use std::cell::Cell;
use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::rc::Rc;

use ferrio_engine::backend::sim::{Incoming, Sim, SimBackend, Socket, Wait};
use ferrio_engine::backend::{Announcement, Backend, Interest, Key, Poller, Received, Usage};
use ferrio_engine::reactor::{Reactor, Work};
use ferrio_engine::time::{Expirable, Nanos, SleepBudget};
use proptest::prelude::*;
use proptest::sample::Index;
use rustix::io::Errno;

const SOURCES: usize = 3;

/// What an entry does when it is run.
#[derive(Clone, Debug)]
enum Action {
    Nothing,
    /// Adds an entry.
    CallSoon,
    /// Adds a timer.
    CallLater(u64),
    /// Cancels a timer, pending or not.
    Cancel(Index),
    /// Takes its time.
    Work(u64),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        1 => Just(Action::Nothing),
        2 => Just(Action::CallSoon),
        4 => (0_u64..12).prop_map(Action::CallLater),
        2 => any::<Index>().prop_map(Action::Cancel),
        2 => (0_u64..6).prop_map(Action::Work),
    ]
}

/// How a turn's wait goes.
#[derive(Clone, Debug)]
enum Plan {
    Normal,
    Stopping,
    /// It reports these sources, whatever is true.
    Reports(Vec<usize>),
    /// As above, and a signal arrives.
    Interrupted(Vec<usize>),
}

fn plan() -> impl Strategy<Value = Plan> {
    let sources = || prop::collection::vec(0..SOURCES, 0..5);
    prop_oneof![
        6 => Just(Plan::Normal),
        1 => Just(Plan::Stopping),
        2 => sources().prop_map(Plan::Reports),
        1 => sources().prop_map(Plan::Interrupted),
    ]
}

/// Something can be read from a source.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    source: usize,
    at: u64,
}

fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    prop::collection::vec((0..SOURCES, 0_u64..40).prop_map(|(source, at)| Arrival { source, at }), 0..12)
}

/// What is run, and in what order it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Name {
    Soon(usize),
    Timer(usize),
    Source(usize),
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Event {
    /// A turn may wait for so long.
    Planned(SleepBudget),
    /// The clock is asked about the timers, or not.
    Asked(usize),
    /// The wait is over.
    Woke(Nanos),
    /// These entries were ready when the turn began to run.
    Ready(Vec<Name>),
    Ran(Name, Nanos),
    Received(usize),
    /// A timer came back that will never run.
    Discarded(usize),
}

#[derive(Clone, Debug)]
struct Timer {
    name: usize,
    is_cancelled: Rc<Cell<bool>>,
}

impl Expirable for Timer {
    fn is_cancelled(&self) -> bool {
        self.is_cancelled.get()
    }
}

#[derive(Clone, Debug)]
enum Entry {
    Soon(usize),
    Timer(Timer),
    Source(usize),
}

impl Entry {
    fn name(&self) -> Name {
        match self {
            Self::Soon(name) => Name::Soon(*name),
            Self::Timer(timer) => Name::Timer(timer.name),
            Self::Source(source) => Name::Source(*source),
        }
    }
}

struct Entries;

impl Work for Entries {
    type Entry = Entry;
    type Timer = Timer;
    type Source = usize;
}

/// The reactor and its caller.
struct Real {
    sim: Sim,
    reactor: Reactor<SimBackend, Entries>,
    sources: Vec<(Key, Socket)>,
    timers: Vec<Timer>,
    soon: usize,
    tape: VecDeque<Action>,
    log: Vec<Event>,
}

impl Real {
    fn new(arrivals: &[Arrival], tape: &[Action]) -> Self {
        let sim = Sim::new();
        let mut reactor = Reactor::new(sim.backend());
        let (sockets, peers): (Vec<_>, Vec<_>) = (0..SOURCES).map(|_| sim.connection()).unzip();
        for &Arrival { source, at } in arrivals {
            peers[source].sends_at(Nanos::from_nanos(at), Incoming::Bytes(vec![7]));
        }
        let attach = |(source, socket): (usize, Socket)| {
            let key = reactor.sources.insert(source);
            reactor.backend.attach(key, socket.as_fd(), Usage::Watched).expect("an open socket");
            reactor.backend.watch(key, Interest::READ).expect("a socket can be watched");
            (key, socket)
        };
        let sources = sockets.into_iter().enumerate().map(attach).collect();
        let (tape, log) = (tape.iter().cloned().collect(), Vec::new());
        Self { sim, reactor, sources, timers: Vec::new(), soon: 0, tape, log }
    }

    fn turn(&mut self, plan: &Plan) {
        let announce = |sources: &[usize]| {
            sources.iter().map(|&source| Announcement { key: self.sources[source].0, ready: Interest::READ }).collect()
        };
        match plan {
            Plan::Normal | Plan::Stopping => {}
            Plan::Reports(sources) => self.sim.next_wait(Wait::Reports(announce(sources))),
            Plan::Interrupted(sources) => self.sim.next_wait(Wait::Interrupted(announce(sources))),
        }
        let mut discarded = Vec::new();
        let asked = Cell::new(0);
        let budget = self.reactor.plan(matches!(plan, Plan::Stopping), &mut discarded, || {
            asked.set(asked.get() + 1);
            self.sim.now()
        });
        self.log.extend([Event::Planned(budget), Event::Asked(asked.get())]);
        let mut poller = self.reactor.start_wait();
        let outcome = poller.wait(match budget {
            SleepBudget::None => Some(Nanos::ZERO),
            SleepBudget::For(limit) => Some(limit),
            SleepBudget::Forever => None,
        });
        assert_eq!(outcome.err().map(|error| error.errno), matches!(plan, Plan::Interrupted(_)).then_some(Errno::INTR));
        let found = self.reactor.end_wait(poller);
        for announcement in &found {
            let source = *self.reactor.sources.get(announcement.key).expect("every source stays");
            self.reactor.ready.push(Entry::Source(source));
        }
        self.reactor.recycle(found);
        self.log.push(Event::Woke(self.sim.now()));
        self.reactor.collect_due(self.sim.now(), &mut discarded, Entry::Timer);
        self.log.push(Event::Ready(self.reactor.ready.iter().map(Entry::name).collect()));
        for _ in 0..self.reactor.ready.turn() {
            let entry = self.reactor.ready.pop().expect("nothing empties the queue");
            self.run(&entry, &mut discarded);
        }
        self.log.extend(discarded.iter().map(|timer| Event::Discarded(timer.name)));
    }

    fn run(&mut self, entry: &Entry, discarded: &mut Vec<Timer>) {
        match entry {
            // As asyncio: it became ready before it was cancelled.
            Entry::Timer(timer) if timer.is_cancelled() => return,
            Entry::Source(source) => {
                let mut buffer = [MaybeUninit::uninit(); 4];
                let received = self.reactor.backend.receive(self.sources[*source].0, &mut buffer);
                let received = received.expect("a sound connection");
                assert!(matches!(received, Received::Bytes(1) | Received::Nothing));
                self.log.push(Event::Received(usize::from(received == Received::Bytes(1))));
            }
            Entry::Soon(_) | Entry::Timer(_) => {}
        }
        self.log.push(Event::Ran(entry.name(), self.sim.now()));
        match self.tape.pop_front() {
            Some(Action::CallSoon) => self.call_soon(),
            Some(Action::CallLater(delay)) => {
                let timer = Timer { name: self.timers.len(), is_cancelled: Rc::default() };
                self.timers.push(timer.clone());
                self.reactor.timers.push(self.sim.now().saturating_add(Nanos::from_nanos(delay)), timer);
            }
            Some(Action::Cancel(which)) if !self.timers.is_empty() => {
                let timer = which.get(&self.timers);
                if !timer.is_cancelled.replace(true) {
                    discarded.extend(self.reactor.timers.note_cancelled());
                }
            }
            None | Some(Action::Nothing | Action::Cancel(_)) => {}
            Some(Action::Work(span)) => self.sim.advance(Nanos::from_nanos(span)),
        }
    }

    fn call_soon(&mut self) {
        self.reactor.ready.push(Entry::Soon(self.soon));
        self.soon += 1;
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Pending,
    Cancelled,
    /// Has become ready.
    Due,
    /// Has become ready, then it was cancelled.
    DueAndCancelled,
}

/// The same loop, on lists.
struct Model {
    now: u64,
    arrivals: Vec<Arrival>,
    ready: Vec<Name>,
    timers: Vec<(u64, Fate)>,
    soon: usize,
    tape: VecDeque<Action>,
    log: Vec<Event>,
}

impl Model {
    fn new(arrivals: &[Arrival], tape: &[Action]) -> Self {
        Self {
            now: 0,
            arrivals: arrivals.to_vec(),
            ready: Vec::new(),
            timers: Vec::new(),
            soon: 0,
            tape: tape.iter().cloned().collect(),
            log: Vec::new(),
        }
    }

    /// The next arrival of each source: its instant and its place in the script.
    fn heads(&self) -> Vec<(u64, usize, usize)> {
        let head = |source| {
            let (place, arrival) = self.arrivals.iter().enumerate().find(|(_, arrival)| arrival.source == source)?;
            Some((arrival.at, place, source))
        };
        let mut heads: Vec<_> = (0..SOURCES).filter_map(head).collect();
        heads.sort_unstable();
        heads
    }

    fn next_deadline(&self) -> Option<u64> {
        self.timers.iter().filter(|(_, fate)| *fate == Fate::Pending).map(|&(deadline, _)| deadline).min()
    }

    fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.arrivals.is_empty() && self.next_deadline().is_none()
    }

    fn turn(&mut self, plan: &Plan) {
        let may_sleep = self.ready.is_empty() && !matches!(plan, Plan::Stopping);
        let deadline = self.next_deadline().filter(|_| may_sleep);
        let budget = match deadline {
            None if may_sleep => SleepBudget::Forever,
            Some(deadline) if deadline > self.now => SleepBudget::For(Nanos::from_nanos(deadline - self.now)),
            None | Some(_) => SleepBudget::None,
        };
        self.log.extend([Event::Planned(budget), Event::Asked(usize::from(deadline.is_some()))]);
        let found: Vec<usize> = match plan {
            Plan::Reports(sources) | Plan::Interrupted(sources) => sources.clone(),
            Plan::Normal | Plan::Stopping => {
                let next = self.heads().first().map(|&(at, ..)| at);
                self.now = match budget {
                    SleepBudget::None => self.now,
                    _ => self.now.max(next.into_iter().chain(deadline).min().expect("not idle")),
                };
                self.heads().into_iter().filter(|&(at, ..)| at <= self.now).map(|(.., source)| source).collect()
            }
        };
        self.ready.extend(found.into_iter().map(Name::Source));
        self.log.push(Event::Woke(Nanos::from_nanos(self.now)));
        let is_due = |&(_, (deadline, fate)): &(usize, (u64, Fate))| fate == Fate::Pending && deadline <= self.now;
        let mut due: Vec<_> = self.timers.iter().copied().enumerate().filter(is_due).collect();
        due.sort_by_key(|&(name, (deadline, _))| (deadline, name));
        for (name, _) in due {
            self.timers[name].1 = Fate::Due;
            self.ready.push(Name::Timer(name));
        }
        self.log.push(Event::Ready(self.ready.clone()));
        for name in std::mem::take(&mut self.ready) {
            self.run(name);
        }
    }

    fn run(&mut self, name: Name) {
        match name {
            Name::Timer(timer) if self.timers[timer].1 == Fate::DueAndCancelled => return,
            Name::Source(source) => {
                let now = self.now;
                // The first of the source that has not been received: later ones wait behind it.
                let head = self.arrivals.iter().position(|arrival| arrival.source == source);
                let head = head.filter(|&place| self.arrivals[place].at <= now);
                if let Some(place) = head {
                    self.arrivals.remove(place);
                }
                self.log.push(Event::Received(usize::from(head.is_some())));
            }
            Name::Soon(_) | Name::Timer(_) => {}
        }
        self.log.push(Event::Ran(name, Nanos::from_nanos(self.now)));
        match self.tape.pop_front() {
            Some(Action::CallSoon) => self.call_soon(),
            Some(Action::CallLater(delay)) => self.timers.push((self.now + delay, Fate::Pending)),
            Some(Action::Cancel(which)) if !self.timers.is_empty() => {
                let name = which.index(self.timers.len());
                let fate = &mut self.timers[name].1;
                *fate = match *fate {
                    Fate::Pending | Fate::Cancelled => Fate::Cancelled,
                    Fate::Due | Fate::DueAndCancelled => Fate::DueAndCancelled,
                };
            }
            None | Some(Action::Nothing | Action::Cancel(_)) => {}
            Some(Action::Work(span)) => self.now += span,
        }
    }

    fn call_soon(&mut self) {
        self.ready.push(Name::Soon(self.soon));
        self.soon += 1;
    }
}

proptest! {
    #[test]
    fn turns_run_announcements_then_due_timers_then_exactly_what_was_ready(
        arrivals in arrivals(),
        tape in prop::collection::vec(action(), 0..120),
        plans in prop::collection::vec(plan(), 0..30),
        first in 1_usize..4,
    ) {
        let (mut real, mut model) = (Real::new(&arrivals, &tape), Model::new(&arrivals, &tape));
        for _ in 0..first {
            real.call_soon();
            model.call_soon();
        }
        let mut plans = plans.into_iter();
        while !model.is_idle() {
            let plan = plans.next().unwrap_or(Plan::Normal);
            real.turn(&plan);
            model.turn(&plan);
            real.log.retain(|event| match event {
                Event::Discarded(timer) => {
                    assert_eq!(model.timers[*timer].1, Fate::Cancelled);
                    model.timers[*timer].1 = Fate::DueAndCancelled;
                    false
                }
                _ => true,
            });
            prop_assert_eq!(&real.log, &model.log);
            real.log.clear();
            model.log.clear();
        }
        // Whatever was cancelled in time came back once, or is still held: the reactor drops nothing.
        let held: Vec<usize> = real.reactor.timers.drain().iter().map(|timer| timer.name).collect();
        for (name, &(_, fate)) in model.timers.iter().enumerate() {
            prop_assert_eq!(held.contains(&name), fate == Fate::Cancelled);
        }
    }

    #[test]
    fn timers_alone_run_in_the_order_of_deadline_and_insertion_and_never_early(
        delays in prop::collection::vec(0_u64..50, 1..100),
    ) {
        let mut real = Real::new(&[], &[]);
        for &delay in &delays {
            let timer = Timer { name: real.timers.len(), is_cancelled: Rc::default() };
            real.timers.push(timer.clone());
            real.reactor.timers.push(Nanos::from_nanos(delay), timer);
        }
        while !real.reactor.timers.is_empty() {
            real.turn(&Plan::Normal);
        }
        let ran: Vec<(Name, Nanos)> = real
            .log
            .iter()
            .filter_map(|event| if let Event::Ran(name, now) = event { Some((*name, *now)) } else { None })
            .collect();
        let mut expected: Vec<(u64, usize)> = delays.iter().copied().zip(0..).collect();
        expected.sort_unstable();
        let expected = expected.into_iter().map(|(at, name)| (Name::Timer(name), Nanos::from_nanos(at)));
        prop_assert_eq!(ran, expected.collect::<Vec<_>>());
    }
}
