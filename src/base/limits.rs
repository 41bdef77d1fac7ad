//! Every number that bounds what a bundle may ask of a reader, in one place. `docs/FORMAT.md` repeats them.

/// Bytes in a part of a stream; the last part of a stream is shorter or equal.
pub const PART_SIZE: usize = 8 * 1024 * 1024;
/// Streams whose compressed size is below this are padded (bytes).
pub const PAD_BELOW: u64 = 1024 * 1024;
/// Padding rounds up to a multiple of this (bytes).
pub const PAD_TO: u64 = 4096;
/// Members of one archive.
pub const MAX_MEMBERS: usize = 2_000_000;
/// Streams of one bundle, the manifest among them: their numbers, from 1, have six digits.
pub const MAX_STREAMS: u32 = 999_999;
/// Parts of one stream: their numbers, from 1, have six digits.
pub const MAX_PARTS: u32 = 999_999;
/// Streams open at once in a writer; a reader need not follow more interleaved ones.
pub const MAX_OPEN_STREAMS: usize = 64;
/// Bytes of `README.txt`, `KBPACK` and `SHA256SUMS.sig`.
pub const MAX_SMALL_MEMBER: u64 = 64 * 1024;
/// Bytes of one `keys/<n>.age`.
pub const MAX_KEY_FILE: u64 = 128 * 1024;
/// Bytes of the plaintext of one key file.
pub const MAX_KEY_PLAINTEXT: usize = 4096;
/// Key files in one bundle.
pub const MAX_KEY_FILES: usize = 32;
/// Bytes of `SHA256SUMS`.
pub const MAX_SUMS: u64 = 256 * 1024 * 1024;
/// Bytes of an age header, of keys and of streams.
pub const MAX_AGE_HEADER: usize = 64 * 1024;
/// Stanzas of an age header.
pub const MAX_AGE_STANZAS: usize = 32;
/// Recipients that a writer takes for one key file: age adds one stanza of grease.
pub const MAX_RECIPIENTS: usize = 31;
/// log2 of scrypt's work factor as written.
pub const SCRYPT_WRITE_LOG_N: u8 = 18;
/// log2 of scrypt's work factor above which a reader refuses.
pub const SCRYPT_MAX_LOG_N: u8 = 20;
/// log2 of the largest zstd window a reader accepts.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Bytes of the manifest's plaintext.
pub const MAX_MANIFEST: u64 = 64 * 1024 * 1024;
/// Components of one bundle.
pub const MAX_COMPONENTS: usize = 256;
/// Values (objects, arrays, strings, numbers and the like, not keys) in one JSON document.
pub const MAX_JSON_VALUES: usize = 2_000_000;
/// Nesting of JSON values.
pub const MAX_JSON_DEPTH: usize = 16;
/// Bytes of one line of a list stream (one row a file).
pub const MAX_LIST_LINE: usize = 1024 * 1024;
/// Seconds that an age plugin may take, the time a person needs to answer it included.
pub const PLUGIN_SECONDS: u64 = 120;
/// Shortest secret value, in bytes, that is searched for in other streams.
pub const MIN_SEARCHED_SECRET: usize = 8;
/// Checks of one bundle.
pub const MAX_CHECKS: usize = 256;
/// Seconds that one attempt of a check may take, and for which it may be repeated.
pub const MAX_CHECK_SECONDS: u64 = 600;
/// Bytes of a text in a check (a word of a command, a query, a value).
pub const MAX_CHECK_TEXT: usize = 4096;
/// Bytes of the body that a check sends.
pub const MAX_CHECK_BODY: usize = 64 * 1024;
/// Words, headers or fields in one check.
pub const MAX_CHECK_ITEMS: usize = 64;
/// Hooks of one bundle.
pub const MAX_HOOKS: usize = 64;
/// Things of one bundle that are left to a person.
pub const MAX_TODOS: usize = 64;
/// Lines of one of them.
pub const MAX_TODO_LINES: usize = 64;
/// Bytes of such a line.
pub const MAX_TODO_LINE: usize = 1024;
/// Seconds that a hook may take.
pub const MAX_HOOK_SECONDS: u64 = 3600;
