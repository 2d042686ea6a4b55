//! A table whose keys are never given twice.
//!
//! # Invariants
//! 1. A slot's generation grows each time its value is removed, so a key of a former value finds nothing.
//! 2. A slot whose generation has run through all 32 bits is retired, not reused.
//! 3. `count` is the number of slots with a value.
//!
//! # Cost
//! `insert`, `get`, `remove` and `len` are O(1); a free slot is reused last in, first out, so the table stays dense.

use super::Key;

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// Values under generation-checked keys.
#[derive(Debug)]
pub struct Slots<T> {
    table: Vec<Slot<T>>,
    free: Vec<u32>,
    count: usize,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { table: Vec::new(), free: Vec::new(), count: 0 }
    }
}

impl<T> Slots<T> {
    /// Gives `value` a key.
    ///
    /// # Panics
    /// With four thousand million values at once.
    pub fn insert(&mut self, value: T) -> Key {
        self.count += 1;
        if let Some(slot) = self.free.pop() {
            let place = &mut self.table[slot as usize];
            place.value = Some(value);
            return Key { slot, generation: place.generation };
        }
        let slot = u32::try_from(self.table.len()).expect("fewer than 2^32 attached descriptors");
        self.table.push(Slot { generation: 0, value: Some(value) });
        Key { slot, generation: 0 }
    }

    /// The value under `key`, unless it has been removed.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        let place = self.table.get(key.slot())?;
        if place.generation == key.generation { place.value.as_ref() } else { None }
    }

    /// The value under `key`, unless it has been removed.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.table.get_mut(key.slot())?;
        if place.generation == key.generation { place.value.as_mut() } else { None }
    }

    /// Ends `key`; its value comes back.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.table.get_mut(key.slot())?;
        if place.generation != key.generation {
            return None;
        }
        let value = place.value.take()?;
        self.count -= 1;
        if let Some(next) = place.generation.checked_add(1) {
            place.generation = next;
            self.free.push(key.slot);
        }
        Some(value)
    }

    /// Every value, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.table.iter().filter_map(|place| place.value.as_ref())
    }

    /// The key of every value.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        (0..)
            .zip(&self.table)
            .filter(|(_, place)| place.value.is_some())
            .map(|(slot, place)| Key { slot, generation: place.generation })
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Ends every key and gives the values back.
    pub fn drain(&mut self) -> Vec<T> {
        let keys: Vec<Key> = self.keys().collect();
        keys.into_iter().filter_map(|key| self.remove(key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Slot, Slots};

    #[test]
    fn a_key_of_a_former_value_finds_nothing() {
        let mut slots = Slots::default();
        let first = slots.insert("first");
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert("second");
        assert_eq!(second.slot(), first.slot());
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&"second"));
    }

    #[test]
    fn a_slot_that_has_used_up_its_generations_is_retired() {
        let mut slots = Slots { table: vec![Slot { generation: u32::MAX, value: None }], free: vec![0], count: 0 };
        let last = slots.insert("last");
        assert_eq!((last.slot, last.generation), (0, u32::MAX));
        assert_eq!(slots.remove(last), Some("last"));
        assert_eq!(slots.get(last), None);
        assert_eq!(slots.remove(last), None);
        assert_eq!(slots.insert("next").slot, 1);
        assert_eq!(slots.len(), 1);
    }

    #[test]
    fn draining_ends_every_key() {
        let mut slots = Slots::default();
        let keys = [slots.insert(1), slots.insert(2)];
        assert_eq!(slots.drain(), [1, 2]);
        assert!(keys.iter().all(|&key| slots.get(key).is_none()));
        assert!(slots.is_empty());
    }
}
