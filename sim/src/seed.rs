//! Randomness in named streams: an additional draw from one stream does not change the others.

use std::hash::Hasher;

use fnv::FnvHasher;
use rand::SeedableRng;
use rand::rngs::StdRng;

/// The stream called `name` of the run with this seed.
pub fn stream(seed: u64, name: &str) -> StdRng {
    let mut key = [0; 32];
    for (word, bytes) in key.chunks_exact_mut(8).enumerate() {
        bytes.copy_from_slice(&digest(seed, word as u64, name).to_le_bytes());
    }
    StdRng::from_seed(key)
}

/// FNV-1a over the seed, a counter and the name: the same in every build.
fn digest(seed: u64, word: u64, name: &str) -> u64 {
    let mut digest = FnvHasher::default();
    for bytes in [&seed.to_le_bytes()[..], &word.to_le_bytes(), name.as_bytes()] {
        digest.write(bytes);
    }
    digest.finish()
}

#[cfg(test)]
mod tests {
    use super::stream;
    use rand::Rng;

    #[test]
    fn streams_differ_by_seed_and_by_name_and_repeat_themselves() {
        let draw = |seed, name| stream(seed, name).random::<u64>();
        assert_eq!(draw(7, "network"), draw(7, "network"));
        assert_ne!(draw(7, "network"), draw(7, "faults"));
        assert_ne!(draw(7, "network"), draw(8, "network"));
    }
}
