//! Hash tables, for what is looked up for each of a hundred thousand packets a second. Nothing is shown in their order:
//! whoever shows what is in one sorts it first.
#![expect(
    clippy::disallowed_types,
    reason = "nothing is shown in their order, and a tree costs several times as much here"
)]

/// A map whose order is nobody's.
pub(super) type Map<K, V> = std::collections::HashMap<K, V>;

/// A set whose order is nobody's.
pub(super) type Set<T> = std::collections::HashSet<T>;
