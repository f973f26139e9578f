//! The guarantees, by their ids in `docs/guarantees.md`. D3 is missing: it speaks of the oracles, and no run can
//! break it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! guarantees {
    ($($id:ident)+) => {
        /// What a run can break.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Guarantee {
            $($id),+
        }

        impl Guarantee {
            pub const ALL: &[Self] = &[$(Self::$id),+];

            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$id => stringify!($id)),+
                }
            }
        }
    };
}

guarantees! { S1 S2 S3 S4 S5 S6 S7 S8 S9 S10 S11 S12 L1 L2 L3 L4 L5 L6 B1 B2 B3 D1 D2 }

impl Guarantee {
    /// Whether it says that something happens in the end, and not that something never does.
    pub const fn is_liveness(self) -> bool {
        matches!(self, Self::L1 | Self::L2 | Self::L3 | Self::L4 | Self::L5 | Self::L6)
    }
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that is not the id of a guarantee.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the id of a guarantee, like S3, found {0:?}")]
pub struct UnknownGuarantee(pub String);

impl FromStr for Guarantee {
    type Err = UnknownGuarantee;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.iter().find(|guarantee| guarantee.as_str() == word);
        named.copied().ok_or_else(|| UnknownGuarantee(word.to_owned()))
    }
}
