//! B1: every queue, buffer, map and retry has a stated maximum. Each measurement comes with its maximum.

use crate::{Evidence, Oracle, Ruling, Seen};

#[derive(Clone, Debug, Default)]
pub(crate) struct Memory;

impl Oracle for Memory {
    fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        match seen.evidence {
            Evidence::Measured { what, value, max } if value > max => {
                Err(format!("{what} came to {value}, and {max} is the most it may"))
            }
            _ => Ok(()),
        }
    }
}
