//! How sharp the judges are: what they were told in a clean run is damaged, one piece at a time, and each damage is
//! either objected to or harmless.

mod altered;
mod edit;
mod guards;
mod measure;
mod subject;
mod testimony;

pub use edit::Edit;
pub use guards::DamageKinds;
pub use measure::{Kind, Measured, Row};
pub use testimony::{Heard, Testimony, testify};
