//! The table of keys against a map that remembers every key ever given.
#![cfg(not(loom))]

use std::collections::HashMap;

use ferrio_engine::backend::{Key, Slots};
use proptest::prelude::*;
use proptest::sample::Index;

#[derive(Clone, Debug)]
enum Step {
    Insert,
    /// Of any key ever given.
    Remove(Index),
    Change(Index),
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Insert),
        5 => any::<Index>().prop_map(Step::Remove),
        3 => any::<Index>().prop_map(Step::Change),
        1 => Just(Step::Drain),
    ]
}

proptest! {
    #[test]
    fn a_key_finds_its_tenant_until_that_leaves_and_is_never_given_again(
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut slots = Slots::default();
        let mut given: Vec<Key> = Vec::new();
        let mut tenants: HashMap<Key, usize> = HashMap::new();
        let mut highest = 0;
        for (name, step) in steps.into_iter().enumerate() {
            match step {
                Step::Insert => {
                    let key = slots.insert(name);
                    prop_assert!(!given.contains(&key), "{key:?} was given before");
                    prop_assert!(!tenants.keys().any(|other| other.slot() == key.slot()), "one tenant a slot");
                    given.push(key);
                    tenants.insert(key, name);
                    highest = highest.max(tenants.len());
                    prop_assert!(key.slot() < highest, "the table is dense");
                }
                Step::Remove(which) if !given.is_empty() => {
                    let key = *which.get(&given);
                    prop_assert_eq!(slots.remove(key), tenants.remove(&key));
                }
                Step::Change(which) if !given.is_empty() => {
                    let key = *which.get(&given);
                    if let Some(tenant) = slots.get_mut(key) {
                        *tenant = name;
                    }
                    tenants.entry(key).and_modify(|tenant| *tenant = name);
                }
                Step::Remove(_) | Step::Change(_) => {}
                Step::Drain => {
                    let mut drained = slots.drain();
                    let mut expected: Vec<usize> = tenants.drain().map(|(_, tenant)| tenant).collect();
                    drained.sort_unstable();
                    expected.sort_unstable();
                    prop_assert_eq!(drained, expected);
                }
            }
            for &key in &given {
                prop_assert_eq!(slots.get(key), tenants.get(&key));
                prop_assert_eq!(Key::from_bits(key.to_bits()), key);
            }
            prop_assert_eq!((slots.len(), slots.is_empty()), (tenants.len(), tenants.is_empty()));
            prop_assert!(slots.keys().all(|key| tenants.contains_key(&key)));
            prop_assert_eq!(slots.keys().count(), tenants.len());
            prop_assert_eq!(slots.iter().count(), tenants.len());
        }
    }
}
