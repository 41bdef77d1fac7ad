//! The kind as a whole, against trees on disk.

mod attacks;
mod beside;
mod capture;
mod conformance;
mod home;
mod import;
mod mounts;
mod random;
mod rollback;
mod stock;
mod undo;
mod world;
