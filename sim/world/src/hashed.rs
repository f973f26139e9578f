//! Parts of the state that most choices leave as they are: shared by the worlds that a search copies, each with the
//! hash of what is in it.

use std::cell::RefCell;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};

use xxhash_rust::xxh3::xxh3_128;

/// A value that is shared by its copies until one of them is about to change, and hashed once.
#[derive(Clone, Debug)]
pub(crate) struct Hashed<T> {
    value: Arc<T>,
    hash: OnceLock<u128>,
}

impl<T> Hashed<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: Arc::new(value), hash: OnceLock::new() }
    }
}

impl<T: Clone> Hashed<T> {
    pub(crate) fn into_inner(self) -> T {
        Arc::unwrap_or_clone(self.value)
    }
}

impl<T> Deref for Hashed<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Clone> DerefMut for Hashed<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.hash = OnceLock::new();
        Arc::make_mut(&mut self.value)
    }
}

impl<T: PartialEq> PartialEq for Hashed<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.value, &other.value) || self.value == other.value
    }
}

impl<T: Eq> Eq for Hashed<T> {}

impl<T: Hash> Hash for Hashed<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(*self.hash.get_or_init(|| fingerprint(|hasher| self.value.hash(hasher))));
    }
}

/// Collects what is to be hashed: once for all is much faster than a few bytes at a time.
pub(crate) struct Collector(Vec<u8>);

impl Hasher for Collector {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        xxh3_128(&self.0) as u64
    }
}

thread_local! {
    /// Buffers at hand: one for each level of what is within one another.
    static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(vec![]) };
}

/// The hash of what `feed` hands in.
pub(crate) fn fingerprint(feed: impl FnOnce(&mut Collector)) -> u128 {
    let buffer = BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_default();
    let mut collector = Collector(buffer);
    feed(&mut collector);
    let Collector(mut buffer) = collector;
    let hash = xxh3_128(&buffer);
    buffer.clear();
    BUFFERS.with_borrow_mut(|buffers| buffers.push(buffer));
    hash
}
