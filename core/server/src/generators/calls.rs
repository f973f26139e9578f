//! The calls of a history, as those have to know them who send it on.

/// The result of a call of which none is known. The call is sent all the same: who made it is to know that it did, and
/// that it may have been carried out.
pub(super) const UNKNOWN_RESULT: &str = "error: nobody knows what became of this call";
