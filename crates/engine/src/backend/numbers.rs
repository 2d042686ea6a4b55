//! Which key a descriptor's number belongs to.
//!
//! A number names the file that was opened under it last, so it belongs to the key that attached it last. An older key of
//! the same number was closed behind its owner's back, or its owner lends the descriptor to the newer one; either way its
//! system calls would act on something that is not its own (rule 2 of the contract).
//!
//! # Units and cost
//! 12 bytes for each place of the table ([`ByNumber`]). All O(1).

use std::os::fd::RawFd;

use rustix::io::Errno;

use super::{ByNumber, Key};
use crate::sys::error::{Error, Result};

/// The holder of each number.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    holders: ByNumber<Key>,
}

impl Numbers {
    /// Gives `number` to `key`; the other key that held it until now comes back. Whether the number is open `ask` says, if
    /// it is higher than any before.
    ///
    /// # Errors
    /// That of `ask`, or `ENOMEM`: nothing has changed.
    pub(super) fn give(&mut self, number: RawFd, key: Key, ask: impl FnOnce() -> Result<()>) -> Result<Option<Key>> {
        Ok(self.holders.put_checked(number, key, ask)?.filter(|&holder| holder != key))
    }

    /// As [`Self::give`], of a number that has been given before.
    pub(super) fn give_again(&mut self, number: RawFd, key: Key) {
        let displaced = self.give(number, key, || Ok(()));
        debug_assert_eq!(displaced, Ok(None), "`check` has found no other holder");
    }

    /// `key` has been detached: the number is free unless another key holds it.
    pub(super) fn release(&mut self, number: RawFd, key: Key) {
        self.holders.take_if(number, |&holder| holder == key);
    }

    /// Whether `key` may use `number` for `call`.
    ///
    /// # Errors
    /// `EBADF` while another key holds the number.
    pub(super) fn check(&self, number: RawFd, key: Key, call: &'static str) -> Result<()> {
        match self.holders.get(number) {
            Some(&holder) if holder != key => Err(Error::new(call, Errno::BADF)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Key = Key { slot: 0, generation: 0 };
    const NEW: Key = Key { slot: 1, generation: 0 };

    #[test]
    fn a_number_belongs_to_the_key_that_attached_it_last() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.give(7, OLD, || Ok(())), Ok(None));
        assert_eq!(numbers.give(7, OLD, || Ok(())), Ok(None));
        assert_eq!(numbers.give(7, NEW, || Ok(())), Ok(Some(OLD)));
        assert_eq!(numbers.check(7, OLD, "recv"), Err(Error::new("recv", Errno::BADF)));
        assert_eq!(numbers.check(7, NEW, "recv"), Ok(()));
    }

    #[test]
    fn only_the_holder_frees_its_number() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.give(7, OLD, || Ok(())), Ok(None));
        assert_eq!(numbers.give(7, NEW, || Ok(())), Ok(Some(OLD)));
        numbers.release(7, OLD);
        assert!(numbers.check(7, OLD, "recv").is_err());
        numbers.release(7, NEW);
        assert_eq!(numbers.check(7, OLD, "recv"), Ok(()));
    }

    #[test]
    fn a_number_never_attached_is_free() {
        let mut numbers = Numbers::default();
        numbers.release(3, OLD);
        assert_eq!(numbers.check(3, OLD, "recv"), Ok(()));
    }
}
