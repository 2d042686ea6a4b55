//! Where in a native state CPython finds a field.
//!
//! [`place!`] makes one of a field's name: the compiler checks the type. That the offset is the field's is checked with each
//! instance, in builds with debug assertions ([`Place::assert_in`]).

/// The field of type `T` in a state `S`.
pub(crate) struct Place<S, T> {
    field: fn(&S) -> &T,
    offset: usize,
}

impl<S, T> Place<S, T> {
    /// `offset` is that of `field`.
    pub(crate) const fn new(field: fn(&S) -> &T, offset: usize) -> Self {
        Self { field, offset }
    }

    /// Bytes from the beginning of the state.
    pub(in crate::ffi) const fn offset(&self) -> usize {
        self.offset
    }

    #[inline]
    pub(in crate::ffi) fn of<'a>(&self, state: &'a S) -> &'a T {
        (self.field)(state)
    }

    #[inline]
    pub(in crate::ffi) fn assert_in(&self, state: &S) {
        let offset = (&raw const *self.of(state)).addr() - (&raw const *state).addr();
        debug_assert_eq!(offset, self.offset, "the offset of the field");
    }
}

/// `place!(State, field)`
macro_rules! place {
    ($state:ty, $field:ident) => {
        $crate::ffi::place::Place::new(|state: &$state| &state.$field, core::mem::offset_of!($state, $field))
    };
}

pub(crate) use place;
