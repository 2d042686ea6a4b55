//! A table whose keys are never given twice.
//!
//! # Invariants
//! 1. A slot's generation grows each time its tenant leaves, so a key of a former tenant finds nothing.
//! 2. A slot whose generation has run through all 32 bits is retired, not reused.
//! 3. `tenants` counts the slots that have one.
//!
//! # Cost
//! `insert`, `get`, `remove` and `len` are O(1); a free slot is reused last in, first out, so the table stays dense.

use super::Key;

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    tenant: Option<T>,
}

/// Values under generation-checked keys.
#[derive(Debug)]
pub struct Slots<T> {
    table: Vec<Slot<T>>,
    free: Vec<u32>,
    tenants: usize,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { table: Vec::new(), free: Vec::new(), tenants: 0 }
    }
}

impl<T> Slots<T> {
    /// Gives `tenant` a key.
    ///
    /// # Panics
    /// With four thousand million tenants at once.
    pub fn insert(&mut self, tenant: T) -> Key {
        self.tenants += 1;
        if let Some(slot) = self.free.pop() {
            let place = &mut self.table[slot as usize];
            place.tenant = Some(tenant);
            return Key { slot, generation: place.generation };
        }
        let slot = u32::try_from(self.table.len()).expect("fewer than 2^32 attached descriptors");
        self.table.push(Slot { generation: 0, tenant: Some(tenant) });
        Key { slot, generation: 0 }
    }

    /// The tenant under `key`, unless it has left.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        let place = self.table.get(key.slot())?;
        if place.generation == key.generation { place.tenant.as_ref() } else { None }
    }

    /// The tenant under `key`, unless it has left.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.table.get_mut(key.slot())?;
        if place.generation == key.generation { place.tenant.as_mut() } else { None }
    }

    /// Ends `key`; its tenant comes back.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.table.get_mut(key.slot())?;
        if place.generation != key.generation {
            return None;
        }
        let tenant = place.tenant.take()?;
        self.tenants -= 1;
        if let Some(next) = place.generation.checked_add(1) {
            place.generation = next;
            self.free.push(key.slot);
        }
        Some(tenant)
    }

    /// Every tenant, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.table.iter().filter_map(|place| place.tenant.as_ref())
    }

    /// The key of every tenant.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        (0..)
            .zip(&self.table)
            .filter(|(_, place)| place.tenant.is_some())
            .map(|(slot, place)| Key { slot, generation: place.generation })
    }

    /// How many tenants there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tenants
    }

    /// Whether there is no tenant.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tenants == 0
    }

    /// Ends every key and gives the tenants back.
    pub fn drain(&mut self) -> Vec<T> {
        let keys: Vec<Key> = self.keys().collect();
        keys.into_iter().filter_map(|key| self.remove(key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Slot, Slots};

    #[test]
    fn a_key_of_a_former_tenant_finds_nothing() {
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
        let mut slots = Slots { table: vec![Slot { generation: u32::MAX, tenant: None }], free: vec![0], tenants: 0 };
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
