//! B1: every queue, buffer, map and retry has a stated maximum. Each measurement comes with its maximum.

use crate::{Evidence, Oracle, Ruling, Seen};

#[derive(Clone, Debug, Default)]
pub(crate) struct Memory;

impl Oracle for Memory {
    fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        match seen.evidence {
            Evidence::Measured { what, value, max } => {
                seen.ask();
                if value <= max {
                    return Ok(());
                }
                Err(format!("{what} came to {value}, and {max} is the most it may"))
            }
            _ => Ok(()),
        }
    }
}
