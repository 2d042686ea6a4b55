//! Writing a chain through a system call that takes as much as there is room for.

use std::io::IoSlice;

use super::Sent;
use crate::buf::{Chain, Chunk};
use crate::sys::error::Result;

/// Chunks of a short chain: more than a response's header and body.
const FEW_CHUNKS: usize = 64;

/// Chunks that leave with one system call: as many as Linux takes (`UIO_MAXIOV`), and few enough for the stack.
const GATHERED_CHUNKS: usize = 1024;

/// Writes as much of `outgoing` as `write` takes: `Ok(None)` from it means that there is no room.
///
/// Finished chunks pass through `released` and are dropped before the return; after an error all are.
///
/// # Errors
/// That of `write`; the chain is empty then.
pub(super) fn write_chain(
    outgoing: &mut Chain,
    released: &mut Vec<Chunk>,
    mut write: impl FnMut(&[IoSlice<'_>]) -> Result<Option<usize>>,
) -> Result<Sent> {
    let mut bytes = 0;
    let outcome = loop {
        if outgoing.is_empty() {
            break Ok(Sent::All { bytes });
        }
        let (outcome, offered) = match outgoing.len_chunks() {
            1 => {
                let front = outgoing.front();
                (write(&[IoSlice::new(front)]), front.len())
            }
            ..=FEW_CHUNKS => gather::<FEW_CHUNKS>(outgoing, &mut write),
            _ => gather::<GATHERED_CHUNKS>(outgoing, &mut write),
        };
        match outcome {
            Ok(Some(taken)) => {
                outgoing.advance(taken, released);
                bytes += taken;
                if taken < offered {
                    // Asking again would only bring "would block".
                    break Ok(Sent::Some { bytes });
                }
            }
            Ok(None) => break Ok(Sent::Some { bytes }),
            Err(error) => {
                released.extend(outgoing.drain());
                break Err(error);
            }
        }
    };
    released.clear();
    outcome
}

/// Writes at most `N` chunks with one call: its outcome, and how many bytes it was offered.
///
/// Apart, so that a shorter chain does not pay for the array.
#[inline(never)]
fn gather<const N: usize>(
    outgoing: &Chain,
    write: &mut impl FnMut(&[IoSlice<'_>]) -> Result<Option<usize>>,
) -> (Result<Option<usize>>, usize) {
    let mut slices = [IoSlice::new(&[]); N];
    let count = outgoing.slices(&mut slices);
    let slices = &slices[..count];
    (write(slices), slices.iter().map(|slice| slice.len()).sum())
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;
    use crate::sys::error::Error;

    fn chain(chunks: usize) -> Chain {
        let mut chain = Chain::new();
        for _ in 0..chunks {
            assert!(chain.push(Chunk::from_vec(vec![7; 10])).is_none());
        }
        chain
    }

    #[test]
    fn a_long_chain_leaves_in_several_calls() {
        let mut calls = Vec::new();
        let mut outgoing = chain(2 * GATHERED_CHUNKS + 1);
        let outcome = write_chain(&mut outgoing, &mut Vec::new(), |slices| {
            calls.push(slices.len());
            Ok(Some(slices.iter().map(|slice| slice.len()).sum()))
        });
        assert_eq!(outcome, Ok(Sent::All { bytes: 10 * (2 * GATHERED_CHUNKS + 1) }));
        assert_eq!(calls, [GATHERED_CHUNKS, GATHERED_CHUNKS, 1]);
    }

    #[test]
    fn a_short_count_is_not_asked_about_again() {
        let mut calls = 0;
        let mut outgoing = chain(3);
        let outcome = write_chain(&mut outgoing, &mut Vec::new(), |_| {
            calls += 1;
            Ok(Some(14))
        });
        assert_eq!((outcome, calls), (Ok(Sent::Some { bytes: 14 }), 1));
        assert_eq!(outgoing.len_bytes(), 16);
    }

    #[test]
    fn an_error_leaves_nothing() {
        let mut answers = [Ok(Some(10 * GATHERED_CHUNKS)), Err(Error::new("sendmsg", Errno::PIPE))].into_iter();
        let mut outgoing = chain(GATHERED_CHUNKS + 1);
        let mut released = Vec::new();
        let outcome = write_chain(&mut outgoing, &mut released, |_| answers.next().expect("two calls"));
        assert_eq!(outcome, Err(Error::new("sendmsg", Errno::PIPE)));
        assert!(outgoing.is_empty() && released.is_empty());
    }
}
