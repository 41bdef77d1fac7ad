//! L3: the kinds of components.

pub mod files;
