//! The pure parts of `time` against naive models.

use std::cell::Cell;
use std::rc::Rc;

use ferrio_engine::time::{Expirable, Nanos, SleepBudget, Timers, sleep_budget};
use proptest::prelude::*;

thread_local! {
    /// Set while a method of the container under test runs.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Runs one method of the container; an entry dropped meanwhile fails the test.
fn inside<T>(method: impl FnOnce() -> T) -> T {
    INSIDE.set(true);
    let result = method();
    INSIDE.set(false);
    result
}

struct Entry {
    name: usize,
    cancelled: Rc<Cell<bool>>,
}

impl Expirable for Entry {
    fn is_cancelled(&self) -> bool {
        self.cancelled.get()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        assert!(!INSIDE.get(), "an entry was dropped inside a method");
    }
}

/// What the naive model knows of one timer, at the index that is its name.
struct Known {
    deadline: u64,
    cancelled: Rc<Cell<bool>>,
    /// Still held by the timers.
    held: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Push { deadline: u64 },
    Cancel { pick: usize },
    NextDeadline,
    PopDue { now: u64 },
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => (0_u64..50).prop_map(|deadline| Step::Push { deadline }),
        40 => any::<usize>().prop_map(|pick| Step::Cancel { pick }),
        5 => Just(Step::NextDeadline),
        5 => (0_u64..60).prop_map(|now| Step::PopDue { now }),
        1 => Just(Step::Drain),
    ]
}

#[derive(Default)]
struct Model {
    known: Vec<Known>,
}

impl Model {
    /// The live timers as (deadline, name), earliest first. Names are given in insertion order.
    fn live(&self) -> Vec<(u64, usize)> {
        let mut live: Vec<_> = self
            .known
            .iter()
            .enumerate()
            .filter(|(_, known)| known.held && !known.cancelled.get())
            .map(|(name, known)| (known.deadline, name))
            .collect();
        live.sort_unstable();
        live
    }

    /// Entries came back although they were not due: each was held, and is cancelled.
    fn discard(&mut self, entries: &[Entry]) {
        for entry in entries {
            let known = &mut self.known[entry.name];
            assert!(known.held && known.cancelled.get());
            known.held = false;
        }
    }

    fn held(&self) -> usize {
        self.known.iter().filter(|known| known.held).count()
    }

    fn cancelled(&self) -> usize {
        self.known.iter().filter(|known| known.held && known.cancelled.get()).count()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn timers_behave_like_a_sorted_list(steps in prop::collection::vec(step(), 0..1_000)) {
        let mut timers = Timers::new();
        let mut model = Model::default();
        for step in steps {
            let mut discarded = Vec::new();
            match step {
                Step::Push { deadline } => {
                    let cancelled = Rc::default();
                    let entry = Entry { name: model.known.len(), cancelled: Rc::clone(&cancelled) };
                    inside(|| timers.push(Nanos::from_nanos(deadline), entry));
                    model.known.push(Known { deadline, cancelled, held: true });
                }
                Step::Cancel { pick } => {
                    let live = model.live();
                    if !live.is_empty() {
                        model.known[live[pick % live.len()].1].cancelled.set(true);
                        discarded = inside(|| timers.note_cancelled());
                        let swept = !discarded.is_empty();
                        model.discard(&discarded);
                        prop_assert!(!swept || model.cancelled() == 0);
                        prop_assert!(model.cancelled() <= 64.max(model.held() / 2));
                    }
                }
                Step::NextDeadline => {
                    let deadline = inside(|| timers.next_deadline(&mut discarded));
                    model.discard(&discarded);
                    let expected = model.live().first().map(|&(deadline, _)| Nanos::from_nanos(deadline));
                    prop_assert_eq!(deadline, expected);
                }
                Step::PopDue { now } => loop {
                    let entry = inside(|| timers.pop_due(Nanos::from_nanos(now), &mut discarded));
                    model.discard(&std::mem::take(&mut discarded));
                    let expected = model.live().first().copied().filter(|&(deadline, _)| deadline <= now);
                    prop_assert_eq!(entry.as_ref().map(|entry| entry.name), expected.map(|(_, name)| name));
                    match entry {
                        Some(entry) => model.known[entry.name].held = false,
                        None => break,
                    }
                },
                Step::Drain => {
                    let drained = inside(|| timers.drain());
                    prop_assert_eq!(drained.len(), model.held());
                    for entry in drained {
                        prop_assert!(std::mem::take(&mut model.known[entry.name].held));
                    }
                }
            }
            prop_assert_eq!(timers.len(), model.held());
            prop_assert_eq!(timers.is_empty(), model.held() == 0);
            prop_assert_eq!(timers.cancelled_len(), model.cancelled());
            let mut names: Vec<_> = timers.iter().map(|(_, entry)| entry.name).collect();
            names.sort_unstable();
            names.dedup();
            prop_assert_eq!(names.len(), model.held());
        }
    }

    #[test]
    fn a_deadline_in_seconds_is_never_early_and_never_a_nanosecond_late(
        secs in prop_oneof![0.0..2e10_f64, 0.0..10.0_f64, 0.0..1e-6_f64, any::<f64>()],
    ) {
        let nanos = Nanos::from_secs_f64_ceil(secs);
        if nanos != Nanos::MAX {
            prop_assert!(!is_below(nanos.as_nanos(), secs));
        }
        if nanos != Nanos::ZERO {
            prop_assert!(is_below(nanos.as_nanos() - 1, secs));
        }
    }

    #[test]
    fn a_time_that_has_come_has_come_in_seconds_too(
        secs in prop_oneof![0.0..1.8e10_f64, 9e6..1e7_f64, 0.0..1e4_f64],
        late in prop_oneof![Just(0_u64), 0..1_000_u64, any::<u32>().prop_map(u64::from)],
    ) {
        let now = Nanos::from_secs_f64_ceil(secs).saturating_add(Nanos::from_nanos(late));
        prop_assert!(now.as_secs_f64() >= secs);
    }

    #[test]
    fn seconds_grow_with_nanoseconds(nanos in any::<u64>(), more in 0..1_000_u64) {
        let (earlier, later) = (Nanos::from_nanos(nanos), Nanos::from_nanos(nanos.saturating_add(more)));
        prop_assert!(earlier.as_secs_f64() <= later.as_secs_f64());
    }

    #[test]
    fn an_instant_survives_the_way_through_seconds(nanos in 0..1_u64 << 53) {
        let back = Nanos::from_secs_f64_ceil(Nanos::from_nanos(nanos).as_secs_f64());
        prop_assert!(back.as_nanos() == nanos || back.as_nanos() == nanos + 1);
    }

    #[test]
    fn a_sleep_never_outlasts_the_deadline(
        is_idle in any::<bool>(),
        stopping in any::<bool>(),
        deadline in prop::option::of(any::<u64>()),
        now in any::<u64>(),
    ) {
        let next = deadline.map(Nanos::from_nanos);
        match sleep_budget(is_idle, stopping, next, Nanos::from_nanos(now)) {
            SleepBudget::None => prop_assert!(!is_idle || stopping || deadline.is_some_and(|at| at <= now)),
            SleepBudget::For(span) => {
                prop_assert!(is_idle && !stopping && span > Nanos::ZERO);
                prop_assert_eq!(now.checked_add(span.as_nanos()), deadline);
            }
            SleepBudget::Forever => prop_assert!(is_idle && !stopping && deadline.is_none()),
        }
    }
}

/// Whether `nanos` nanoseconds are less than `secs` seconds, without rounding.
///
/// Splits off the whole seconds, which is exact, and compares the remainders binary digit by binary digit.
fn is_below(nanos: u64, secs: f64) -> bool {
    if secs.is_nan() || secs <= 0.0 {
        return false;
    }
    if secs >= 2e10 {
        return true;
    }
    let (whole_nanos, rest_nanos) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let whole = whole_of(secs);
    if whole_nanos != whole {
        return whole_nanos < whole;
    }
    let mut numerator = rest_nanos;
    let mut rest = secs.fract();
    while rest > 0.0 {
        numerator *= 2;
        rest *= 2.0;
        let (digit, expected) = (numerator >= 1_000_000_000, rest >= 1.0);
        if digit != expected {
            return expected;
        }
        if digit {
            numerator -= 1_000_000_000;
            rest -= 1.0;
        }
    }
    false
}

/// The whole seconds of a time below 2e10, found by binary search so that no cast rounds or truncates.
fn whole_of(secs: f64) -> u64 {
    let mut whole = 0_u64;
    for bit in (0..35).rev() {
        let candidate = whole | (1 << bit);
        let high = u32::try_from(candidate >> 32).expect("35 bits");
        let low = u32::try_from(candidate & 0xffff_ffff).expect("32 bits");
        if f64::from(high) * 4_294_967_296.0 + f64::from(low) <= secs {
            whole = candidate;
        }
    }
    whole
}
