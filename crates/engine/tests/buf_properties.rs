//! The outgoing chain against a plain queue of bytes.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::ptr::NonNull;

use ferrio_engine::buf::{Chain, Chunk};
use proptest::prelude::*;

thread_local! {
    /// Set while a method of a chain runs.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    /// Foreign owners that are not released yet.
    static LIVING: Cell<usize> = const { Cell::new(0) };
}

/// Runs one method of a chain; a foreign owner released meanwhile fails the test.
fn inside<T>(method: impl FnOnce() -> T) -> T {
    INSIDE.set(true);
    let result = method();
    INSIDE.set(false);
    result
}

/// A chunk whose owner is a leaked boxed slice that its release frees.
fn foreign(bytes: &[u8]) -> Chunk {
    let owner = Box::into_raw(Box::new(bytes.to_vec()));
    LIVING.set(LIVING.get() + 1);
    // SAFETY: `owner` came from `Box::into_raw` above.
    let bytes = unsafe { &*owner };
    let ptr = NonNull::from(bytes.as_slice()).cast();
    // SAFETY: the vector is boxed, unshared and unchanged until `free` releases it, on whichever thread that is.
    unsafe { Chunk::from_foreign(ptr, bytes.len(), owner.cast(), free) }
}

/// # Safety
/// `owner` came from `foreign` and is not freed yet.
unsafe fn free(owner: *mut ()) {
    assert!(!INSIDE.get(), "a chunk was dropped inside a method");
    LIVING.set(LIVING.get() - 1);
    // SAFETY: `foreign` made it with `Box::into_raw`, and the caller promises the first call.
    drop(unsafe { Box::from_raw(owner.cast::<Vec<u8>>()) });
}

#[derive(Clone, Debug)]
enum Step {
    Push { side: usize, bytes: Vec<u8>, is_foreign: bool },
    Advance { side: usize, part: f64 },
    Append { to: usize },
    Drain { side: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0_usize..2, prop::collection::vec(any::<u8>(), 0..12), any::<bool>())
            .prop_map(|(side, bytes, is_foreign)| Step::Push { side, bytes, is_foreign }),
        6 => (0_usize..2, 0.0..=1.3_f64).prop_map(|(side, part)| Step::Advance { side, part }),
        2 => (0_usize..2).prop_map(|to| Step::Append { to }),
        1 => (0_usize..2).prop_map(|side| Step::Drain { side }),
    ]
}

/// What a chain should hold: the lengths of its chunks and the bytes still to be sent.
#[derive(Default)]
struct Model {
    /// What is left of each chunk.
    chunks: VecDeque<usize>,
    bytes: VecDeque<u8>,
}

impl Model {
    /// Removes bytes and returns how many chunks that finishes.
    fn advance(&mut self, mut n: usize) -> usize {
        self.bytes.drain(..n);
        let mut finished = 0;
        while let Some(left) = self.chunks.front_mut() {
            if n < *left {
                *left -= n;
                break;
            }
            n -= *left;
            self.chunks.pop_front();
            finished += 1;
        }
        finished
    }
}

/// `part` of `len`, at most all of it.
fn part_of(len: usize, part: f64) -> usize {
    (0..=len).rev().find(|&n| to_f64(n) <= to_f64(len) * part).unwrap_or(0)
}

fn to_f64(n: usize) -> f64 {
    f64::from(u32::try_from(n).expect("the test's chains are short"))
}

fn check(chain: &Chain, model: &Model, room: usize) -> Result<(), TestCaseError> {
    prop_assert_eq!(chain.len_bytes(), model.bytes.len());
    prop_assert_eq!(chain.len_chunks(), model.chunks.len());
    prop_assert_eq!(chain.is_empty(), model.bytes.is_empty());
    let mut into = vec![IoSlice::new(&[]); room];
    let count = chain.slices(&mut into);
    prop_assert_eq!(count, room.min(model.chunks.len()));
    let lengths: Vec<_> = into[..count].iter().map(|slice| slice.len()).collect();
    prop_assert!(lengths.iter().eq(model.chunks.iter().take(count)));
    let bytes: Vec<u8> = into[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
    prop_assert!(bytes.iter().eq(model.bytes.iter().take(bytes.len())));
    prop_assert_eq!(chain.front(), &bytes[..lengths.first().copied().unwrap_or(0)]);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_chain_behaves_like_a_queue_of_bytes(steps in prop::collection::vec(step(), 0..120), room in 1_usize..9) {
        LIVING.set(0);
        let mut chains = [Chain::new(), Chain::new()];
        let mut models = [Model::default(), Model::default()];
        for step in steps {
            match step {
                Step::Push { side, bytes, is_foreign } => {
                    let chunk = if is_foreign { foreign(&bytes) } else { Chunk::from_vec(bytes.clone()) };
                    let refused = inside(|| chains[side].push(chunk));
                    prop_assert_eq!(refused.is_some(), bytes.is_empty());
                    if !bytes.is_empty() {
                        models[side].chunks.push_back(bytes.len());
                        models[side].bytes.extend(bytes);
                    }
                }
                Step::Advance { side, part } => {
                    let n = part_of(chains[side].len_bytes(), part);
                    let mut released = Vec::new();
                    inside(|| chains[side].advance(n, &mut released));
                    prop_assert_eq!(released.len(), models[side].advance(n));
                }
                Step::Append { to } => {
                    let [left, right] = &mut chains;
                    let (target, source) = if to == 0 { (left, right) } else { (right, left) };
                    inside(|| target.append(source));
                    let moved = std::mem::take(&mut models[1 - to]);
                    models[to].chunks.extend(moved.chunks);
                    models[to].bytes.extend(moved.bytes);
                }
                Step::Drain { side } => {
                    let drained = inside(|| chains[side].drain());
                    prop_assert_eq!(drained.len(), models[side].chunks.len());
                    let bytes: Vec<u8> = drained.iter().flat_map(|chunk| chunk.as_slice().iter().copied()).collect();
                    // The partly sent first chunk comes back whole.
                    let unsent: Vec<u8> = std::mem::take(&mut models[side]).bytes.into();
                    prop_assert!(bytes.ends_with(&unsent));
                }
            }
            check(&chains[0], &models[0], room)?;
            check(&chains[1], &models[1], room)?;
        }
        drop(chains);
        prop_assert_eq!(LIVING.get(), 0);
    }
}
