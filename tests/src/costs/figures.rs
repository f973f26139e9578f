//! Figures: numbers whose names end with their units, in the order in which they are told; and series of them.

use crate::measure::median;

/// What one measurement gives.
pub(super) type Measured = Vec<(&'static str, f64)>;

/// Declares a struct of numbers, which gives them with their names.
macro_rules! figures {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(super) struct $name { $($(#[$field_doc])* pub(super) $field: f64,)+ }

        impl $name {
            /// All of them.
            pub(super) fn named(self) -> $crate::costs::figures::Measured {
                vec![$((stringify!($field), self.$field),)+]
            }
        }
    };
}
pub(super) use figures;

/// One figure over all rounds.
#[derive(Clone, Debug)]
pub struct Series {
    pub name: &'static str,
    pub rounds: Vec<f64>,
}

impl Series {
    /// Those of measurements that gave the same figures.
    pub(super) fn of(rounds: &[Measured]) -> Vec<Self> {
        let first = rounds.first().map_or(&[][..], |first| first);
        let named = first.iter().enumerate().map(|(at, (name, _))| {
            let rounds = rounds.iter().map(|round| round[at].1).collect();
            Self { name, rounds }
        });
        named.collect()
    }

    pub fn median(&self) -> f64 {
        median(self.rounds.clone())
    }
}
