//! L2: the two directions of a bundle's data.
//!
//! ```text
//! pack:    plaintext -> digest, search for secrets -> zstd -> padding -> age -> parts -> container
//! unpack:  container -> parts, checked -> age -> zstd -> padding -> digest -> plaintext
//! ```
//!
//! [`pack`] writes, [`unpack`] reads (and says why not, in `refusal`), [`output`] is where a finished bundle goes, [`scan`] finds secrets
//! where they do not belong.

pub mod output;
pub mod pack;
pub mod parts;
mod refusal;
pub mod scan;
pub mod stream;
pub mod unpack;
