//! Receipts: a target's signed word that it restored a bundle, carried back to the source (`docs/FORMAT.md`, chapter A).
//!
//! ```text
//! document   what a receipt says, in JSON
//! make       on the target: write one            take   on the source: verify and remember one
//! ```

pub mod document;
pub mod error;
pub mod make;
pub mod take;

pub use document::{Outcome, Receipt};
pub use error::ReceiptError;
