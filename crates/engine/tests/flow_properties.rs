//! The gates and the lifecycle against asyncio's own logic, written down flag by flag.

use ferrio_engine::flow::{CloseStep, DrainedStep, GateSignal, Interest, Lifecycle, ReadGate, WriteGate, WriteVerdict};
use proptest::prelude::*;

/// `_FlowControlMixin`, with Python's unbounded integers.
struct FlowControlMixin {
    high: i128,
    low: i128,
    protocol_paused: bool,
}

impl FlowControlMixin {
    fn set_write_buffer_limits(&mut self, high: Option<i128>, low: Option<i128>) -> bool {
        let high = high.unwrap_or(match low {
            None => 64 * 1024,
            Some(low) => 4 * low,
        });
        let low = low.unwrap_or(high / 4);
        if !(high >= low && low >= 0) {
            return false;
        }
        self.high = high;
        self.low = low;
        true
    }

    fn maybe_pause_protocol(&mut self, size: i128) -> bool {
        if size <= self.high {
            return false;
        }
        !std::mem::replace(&mut self.protocol_paused, true)
    }

    fn maybe_resume_protocol(&mut self, size: i128) -> bool {
        let resumes = self.protocol_paused && size <= self.low;
        if resumes {
            self.protocol_paused = false;
        }
        resumes
    }
}

#[derive(Clone, Debug)]
enum WriteStep {
    Limits { high: Option<u16>, low: Option<u16> },
    Grown { size: u32 },
    Drained { size: u32 },
}

fn write_step() -> impl Strategy<Value = WriteStep> {
    let mark = || prop::option::of(any::<u16>());
    prop_oneof![
        1 => (mark(), mark()).prop_map(|(high, low)| WriteStep::Limits { high, low }),
        4 => (0..150_000_u32).prop_map(|size| WriteStep::Grown { size }),
        4 => (0..150_000_u32).prop_map(|size| WriteStep::Drained { size }),
    ]
}

#[derive(Clone, Debug)]
enum ReadStep {
    Start,
    Pause,
    Resume,
    EndOfFile,
    Close,
}

fn read_step() -> impl Strategy<Value = ReadStep> {
    prop_oneof![
        4 => Just(ReadStep::Start),
        8 => Just(ReadStep::Pause),
        8 => Just(ReadStep::Resume),
        1 => Just(ReadStep::EndOfFile),
        1 => Just(ReadStep::Close),
    ]
}

/// `_SelectorSocketTransport`, reduced to what decides about its end. `scheduled` and `called` count
/// `call_soon(self._call_connection_lost)` and `self._call_connection_lost()`.
#[derive(Default)]
struct SocketTransport {
    buffer: usize,
    closing: bool,
    conn_lost: u32,
    scheduled: u32,
    called: u32,
    warnings: u32,
}

impl SocketTransport {
    fn close(&mut self) {
        if self.closing {
            return;
        }
        self.closing = true;
        if self.buffer == 0 {
            self.conn_lost += 1;
            self.scheduled += 1;
        }
    }

    fn force_close(&mut self) {
        if self.conn_lost != 0 {
            return;
        }
        self.buffer = 0;
        self.closing = true;
        self.conn_lost += 1;
        self.scheduled += 1;
    }

    fn write(&mut self) {
        if self.conn_lost != 0 {
            if self.conn_lost >= 5 {
                self.warnings += 1;
            }
            self.conn_lost += 1;
            return;
        }
        self.buffer += 1;
    }

    fn write_ready(&mut self, sent: usize) {
        if self.conn_lost != 0 {
            return;
        }
        self.buffer = self.buffer.saturating_sub(sent);
        if self.buffer == 0 && self.closing {
            self.conn_lost += 1;
            self.called += 1;
        }
    }
}

#[derive(Clone, Debug)]
enum LifeStep {
    Write,
    WriteReady { sent: usize },
    Close,
    ForceClose,
    RunScheduled,
}

fn life_step() -> impl Strategy<Value = LifeStep> {
    prop_oneof![
        8 => Just(LifeStep::Write),
        4 => (0_usize..4).prop_map(|sent| LifeStep::WriteReady { sent }),
        1 => Just(LifeStep::Close),
        1 => Just(LifeStep::ForceClose),
        1 => Just(LifeStep::RunScheduled),
    ]
}

proptest! {
    #[test]
    fn the_write_gate_is_flow_control_mixin(steps in prop::collection::vec(write_step(), 0..60)) {
        let mut gate = WriteGate::new();
        let mut mixin = FlowControlMixin { high: 64 * 1024, low: 16 * 1024, protocol_paused: false };
        for step in steps {
            match step {
                WriteStep::Limits { high, low } => {
                    let set = gate.set_limits(high.map(usize::from), low.map(usize::from));
                    let expected = mixin.set_write_buffer_limits(high.map(i128::from), low.map(i128::from));
                    prop_assert_eq!(set.is_ok(), expected);
                }
                WriteStep::Grown { size } => {
                    let expected =
                        if mixin.maybe_pause_protocol(size.into()) { GateSignal::Pause } else { GateSignal::Keep };
                    prop_assert_eq!(gate.grown_to(size as usize), expected);
                }
                WriteStep::Drained { size } => {
                    let expected =
                        if mixin.maybe_resume_protocol(size.into()) { GateSignal::Resume } else { GateSignal::Keep };
                    prop_assert_eq!(gate.drained_to(size as usize), expected);
                }
            }
            let (low, high) = gate.limits();
            prop_assert_eq!(i128::try_from(low).ok(), Some(mixin.low));
            prop_assert_eq!(i128::try_from(high).ok(), Some(mixin.high));
            prop_assert_eq!(gate.is_paused(), mixin.protocol_paused);
        }
    }

    #[test]
    fn the_read_gate_wants_what_its_flags_say(steps in prop::collection::vec(read_step(), 0..40)) {
        let mut gate = ReadGate::new();
        let (mut started, mut paused, mut ended, mut closing) = (false, false, false, false);
        let mut watching = false;
        for step in steps {
            let interest = match step {
                ReadStep::Start => { started = true; gate.start() }
                ReadStep::Pause => { paused |= !closing; gate.pause() }
                ReadStep::Resume => { paused &= closing; gate.resume() }
                ReadStep::EndOfFile => { ended = true; gate.end_of_file() }
                ReadStep::Close => { closing = true; gate.close() }
            };
            let wanted = started && !paused && !ended && !closing;
            let expected = match (watching, wanted) {
                (false, true) => Interest::Start,
                (true, false) => Interest::Stop,
                _ => Interest::Unchanged,
            };
            prop_assert_eq!(interest, expected);
            watching = wanted;
            prop_assert_eq!(gate.is_wanted(), wanted);
            prop_assert_eq!(gate.is_reading(), !closing && !paused);
            prop_assert_eq!(gate.is_ended(), ended);
        }
    }

    #[test]
    fn a_transport_dies_as_in_asyncio_and_once(steps in prop::collection::vec(life_step(), 0..60)) {
        let mut theirs = SocketTransport::default();
        let mut life = Lifecycle::new();
        let (mut buffer, mut scheduled, mut called, mut warnings) = (0_usize, 0, 0, 0);
        for step in steps {
            match step {
                LifeStep::Write => {
                    theirs.write();
                    match life.on_write() {
                        WriteVerdict::Accept => buffer += 1,
                        WriteVerdict::Discard => {}
                        WriteVerdict::DiscardAndWarn => warnings += 1,
                    }
                }
                LifeStep::WriteReady { sent } => {
                    if theirs.buffer != 0 {
                        theirs.write_ready(sent);
                    }
                    if buffer != 0 && !life.is_lost() {
                        buffer = buffer.saturating_sub(sent);
                        if buffer == 0 && life.drained() == DrainedStep::LoseNow {
                            called += 1;
                            prop_assert!(life.ended());
                        }
                    }
                }
                LifeStep::Close => {
                    theirs.close();
                    match life.close(buffer == 0) {
                        CloseStep::ScheduleLost => scheduled += 1,
                        CloseStep::Drain | CloseStep::Nothing => {}
                    }
                }
                LifeStep::ForceClose => {
                    theirs.force_close();
                    match life.force_close() {
                        CloseStep::ScheduleLost => {
                            buffer = 0;
                            scheduled += 1;
                        }
                        CloseStep::Nothing => {}
                        CloseStep::Drain => prop_assert!(false, "force_close never drains"),
                    }
                }
                LifeStep::RunScheduled => {
                    if scheduled != 0 {
                        life.ended();
                    }
                }
            }
            prop_assert_eq!(buffer, theirs.buffer);
            prop_assert_eq!(life.is_closing(), theirs.closing);
            prop_assert_eq!(life.conn_lost(), theirs.conn_lost);
            prop_assert_eq!((scheduled, called, warnings), (theirs.scheduled, theirs.called, theirs.warnings));
            prop_assert!(scheduled + called <= 1);
        }
    }
}
