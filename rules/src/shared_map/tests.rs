use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;

type Model = BTreeMap<u16, u8>;

fn map(model: &Model) -> SharedMap<u16, u8> {
    model.iter().map(|(&key, &value)| (key, value)).collect()
}

fn entries(map: &SharedMap<u16, u8>) -> Vec<(u16, u8)> {
    map.iter().map(|(&key, &value)| (key, value)).collect()
}

/// An edit: a key, and its value, if it is to have one.
fn edits() -> impl Strategy<Value = Vec<(u16, Option<u8>)>> {
    vec((0..2_000_u16, any::<Option<u8>>()), 0..600)
}

fn edit(map: &mut SharedMap<u16, u8>, model: &mut Model, edits: &[(u16, Option<u8>)]) {
    for &(key, value) in edits {
        let (had, has) = match value {
            Some(value) => (model.insert(key, value), map.insert(key, value)),
            None => (model.remove(&key), map.remove(&key)),
        };
        assert_eq!(had, has);
    }
}

proptest! {
    #[test]
    fn is_a_map(model in btree_map(0..2_000_u16, any::<u8>(), 0..800), edits in edits()) {
        let mut model = model;
        let mut map = map(&model);
        let (before, held) = (map.clone(), entries(&map));
        edit(&mut map, &mut model, &edits);
        prop_assert_eq!(entries(&map), model.clone().into_iter().collect::<Vec<_>>());
        prop_assert_eq!(map.len(), model.len());
        prop_assert!(map.chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= MAX_CHUNK));
        for key in 0..2_000 {
            prop_assert_eq!(map.get(&key), model.get(&key));
        }
        prop_assert_eq!(entries(&before), held, "a clone stays as it was");
    }

    #[test]
    fn finds_every_difference(model in btree_map(0..2_000_u16, 0..2_u8, 0..800), edits in edits()) {
        let (before, mut after, mut edited) = (map(&model), map(&model), model.clone());
        let shared = before.clone();
        let mut from_shared = shared.clone();
        edit(&mut after, &mut edited, &edits);
        edit(&mut from_shared, &mut model.clone(), &edits);
        let expected: Vec<_> = (0..2_000_u16)
            .filter(|key| model.get(key) != edited.get(key))
            .map(|key| (key, model.get(&key).copied(), edited.get(&key).copied()))
            .collect();
        for (new, old) in [(&after, &before), (&from_shared, &shared)] {
            let found: Vec<_> = new
                .differences(old)
                .into_iter()
                .map(|(&key, was, is)| (key, was.copied(), is.copied()))
                .collect();
            prop_assert_eq!(&found, &expected);
            prop_assert_eq!(new == old, expected.is_empty());
        }
        let mut both = model.clone();
        both.extend(edited);
        prop_assert_eq!(entries(&before.with(&after)), both.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn of_several_values_the_last_stays() {
    let map: SharedMap<u16, u8> = [(2, 1), (1, 1), (2, 2)].into();
    assert_eq!(entries(&map), [(1, 1), (2, 2)]);
    assert_eq!((map[&2], map.len()), (2, 2));
}
