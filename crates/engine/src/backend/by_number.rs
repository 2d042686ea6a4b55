//! A table with a place for each descriptor's number.
//!
//! A program may name any number, so the table believes none: before it grows it asks the kernel whether the number is open.
//! Its memory is thereby bounded by the process's limit of descriptors.
//!
//! # Invariants
//! 1. The table is no longer than twice the highest number that was open when it grew, or 64.
//!
//! # Units and cost
//! One place for each number, growing by doubling: the kernel gives out the lowest that is free. All O(1), and one system
//! call each time the table grows.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use rustix::io::Errno;

use crate::sys::error::{Error, Result};
use crate::sys::number::check_open;

const FIRST_LENGTH: usize = 64;

/// Values by the numbers of open descriptors.
#[derive(Debug)]
pub struct ByNumber<T> {
    places: Vec<Option<T>>,
}

impl<T> Default for ByNumber<T> {
    fn default() -> Self {
        Self { places: Vec::new() }
    }
}

impl<T> ByNumber<T> {
    /// What a number has.
    #[must_use]
    pub fn get(&self, number: RawFd) -> Option<&T> {
        self.places.get(index(number)?)?.as_ref()
    }

    /// Takes what a number has.
    pub fn take(&mut self, number: RawFd) -> Option<T> {
        self.places.get_mut(index(number)?)?.take()
    }

    /// Takes what a number has, if it is what `is_meant`.
    pub fn take_if(&mut self, number: RawFd, is_meant: impl FnOnce(&T) -> bool) -> Option<T> {
        self.places.get_mut(index(number)?)?.take_if(|value| is_meant(value))
    }

    /// Gives `value` to the number of a descriptor; what it had before comes back.
    ///
    /// # Errors
    /// `EBADF` for a number that is not open and has never been seen, `ENOMEM`: nothing has changed.
    pub fn put(&mut self, descriptor: BorrowedFd<'_>, value: T) -> Result<Option<T>> {
        self.put_checked(descriptor.as_raw_fd(), value, || check_open(descriptor))
    }

    /// As [`Self::put`], where `ask` says whether the number is open; it is asked only before the table grows.
    pub(super) fn put_checked(
        &mut self,
        number: RawFd,
        value: T,
        ask: impl FnOnce() -> Result<()>,
    ) -> Result<Option<T>> {
        let index = index(number).ok_or(Error::new("fcntl", Errno::BADF))?;
        if index >= self.places.len() {
            ask()?;
            let length = (index + 1).next_power_of_two().max(FIRST_LENGTH);
            let more = length - self.places.len();
            self.places.try_reserve_exact(more).map_err(|_| Error::new("malloc", Errno::NOMEM))?;
            self.places.resize_with(length, || None);
        }
        Ok(self.places[index].replace(value))
    }

    /// Every number that has something, and what.
    pub fn iter(&self) -> impl Iterator<Item = (RawFd, &T)> {
        (0..).zip(&self.places).filter_map(|(number, value)| value.as_ref().map(|value| (number, value)))
    }
}

/// No descriptor has a negative number.
fn index(number: RawFd) -> Option<usize> {
    usize::try_from(number).ok()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_number_that_is_not_open_costs_no_memory() {
        let mut table = ByNumber::default();
        // SAFETY: no process has so many descriptors open, and nothing is done with one but asking.
        let nobodys = unsafe { BorrowedFd::borrow_raw(RawFd::MAX) };
        assert_eq!(table.put(nobodys, 1), Err(Error::new("fcntl", Errno::BADF)));
        assert_eq!(table.places.capacity(), 0);
        assert_eq!((table.get(RawFd::MAX), table.get(-1)), (None, None));
        assert_eq!(table.take(RawFd::MAX), None);
    }

    #[test]
    fn what_a_number_had_comes_back() {
        let file = std::fs::File::open("/dev/null").expect("a file");
        let number = file.as_raw_fd();
        let mut table = ByNumber::default();
        assert_eq!(table.put(file.as_fd(), 1), Ok(None));
        assert_eq!(table.put(file.as_fd(), 2), Ok(Some(1)));
        assert_eq!(table.iter().collect::<Vec<_>>(), [(number, &2)]);
        assert_eq!(table.take_if(number, |&value| value == 1), None);
        assert_eq!(table.take_if(number, |&value| value == 2), Some(2));
        assert_eq!(table.get(number), None);
    }

    #[test]
    fn the_table_grows_by_doubling() {
        let mut table = ByNumber::default();
        let mut asked = 0;
        for number in 0..1000 {
            let put = table.put_checked(number, number, || {
                asked += 1;
                Ok(())
            });
            assert_eq!(put, Ok(None));
        }
        assert_eq!((asked, table.places.len()), (5, 1024));
    }
}
