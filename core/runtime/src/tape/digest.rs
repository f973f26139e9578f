//! A digest of outputs that is the same in every process and on every machine: no addresses, no native order of
//! bytes.

use std::hash::{Hash, Hasher};

use xxhash_rust::xxh3::Xxh3Default;

pub(super) fn digest(value: &impl Hash) -> u64 {
    let mut hasher = Canonical(Xxh3Default::new());
    value.hash(&mut hasher);
    hasher.finish()
}

/// Numbers are fed in little-endian order, and sizes as 64 bits.
struct Canonical(Xxh3Default);

impl Hasher for Canonical {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn write_u16(&mut self, n: u16) {
        self.write(&n.to_le_bytes());
    }

    fn write_u32(&mut self, n: u32) {
        self.write(&n.to_le_bytes());
    }

    fn write_u64(&mut self, n: u64) {
        self.write(&n.to_le_bytes());
    }

    fn write_u128(&mut self, n: u128) {
        self.write(&n.to_le_bytes());
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    fn write_isize(&mut self, n: isize) {
        self.write_u64(n as i64 as u64);
    }

    fn finish(&self) -> u64 {
        self.0.digest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_same_everywhere() {
        // XXH3 of the bytes 1, 0, 0, 0, 0, 0, 0, 0 and of those of "ab" with the 0xff that ends a text.
        assert_eq!(digest(&1u64), xxhash_rust::xxh3::xxh3_64(&[1, 0, 0, 0, 0, 0, 0, 0]));
        assert_eq!(digest(&1usize), digest(&1u64));
        assert_eq!(digest(&"ab"), xxhash_rust::xxh3::xxh3_64(b"ab\xff"));
        assert_ne!(digest(&(1u32, 2u32)), digest(&(2u32, 1u32)));
    }
}
