//! The latest results for pairs of answers, so that most are not searched for.

use super::answers::AnswerId;

/// A value for each of the latest pairs. A pair has one slot, so that another may take it: what is lost is found again.
#[derive(Debug)]
pub(in crate::analysis) struct Latest<V> {
    slots: Vec<Option<(AnswerId, AnswerId, V)>>,
}

const SLOTS: usize = 1 << 14;

impl<V: Copy> Latest<V> {
    pub(in crate::analysis) fn new() -> Self {
        Latest {
            slots: vec![None; SLOTS],
        }
    }

    pub(in crate::analysis) fn get(&self, a: AnswerId, b: AnswerId) -> Option<V> {
        self.slots[slot(a, b)]
            .filter(|&(known_a, known_b, _)| (known_a, known_b) == (a, b))
            .map(|(_, _, value)| value)
    }

    pub(in crate::analysis) fn set(&mut self, a: AnswerId, b: AnswerId, value: V) {
        self.slots[slot(a, b)] = Some((a, b, value));
    }
}

fn slot(a: AnswerId, b: AnswerId) -> usize {
    // Any odd constant spreads neighbours well enough (Knuth's multiplicative hash).
    (a.number().wrapping_mul(0x9e37_79b1) ^ b.number()) as usize % SLOTS
}
