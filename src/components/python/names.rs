//! Names and versions, as the packaging specifications have them (<https://packaging.python.org/en/latest/specifications/>).

/// Modules, and scripts, of one component.
pub const MAX_CHECKS: usize = 64;
/// Bytes of a name or a version.
const MAX_NAME: usize = 200;

/// Whether `text` is the name of a distribution.
pub fn is_name(text: &str) -> bool {
    let ends = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let bytes = text.as_bytes();
    (1..=MAX_NAME).contains(&bytes.len())
        && bytes.iter().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(c))
        && ends(bytes.first().copied())
        && ends(bytes.last().copied())
}

/// Whether `text` may be a version. pip judges it in the end.
pub fn is_version(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=MAX_NAME).contains(&bytes.len())
        && bytes.iter().all(|c| c.is_ascii_alphanumeric() || b".!+_-".contains(c))
        && bytes[0].is_ascii_alphanumeric()
}

/// The one form of a distribution's name.
pub fn normal(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            c => normal.push(c.to_ascii_lowercase()),
        }
    }
    normal
}

/// Whether `text` is what `import` takes.
pub fn is_module(text: &str) -> bool {
    let part = |part: &str| {
        let bytes = part.as_bytes();
        bytes.iter().all(|c| c.is_ascii_alphanumeric() || *c == b'_')
            && bytes.first().is_some_and(|c| !c.is_ascii_digit())
    };
    text.len() <= MAX_NAME && text.split('.').all(part)
}

/// Whether `words` are the name of a program in `bin`, and arguments.
pub fn is_script(words: &[String]) -> bool {
    const MAX_WORDS: usize = 64;
    const MAX_WORD: usize = 4096;
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
    let Some(program) = words.first() else { return false };
    words.len() <= MAX_WORDS
        && words.iter().all(|word| word.len() <= MAX_WORD && !word.contains('\0'))
        && (1..=MAX_NAME).contains(&program.len())
        && program.bytes().all(plain)
        && !program.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions() {
        assert!(
            is_name("ruamel.yaml") && is_name("a") && !is_name("-a") && !is_name("a-") && !is_name("a/b")
        );
        assert!(is_version("1.0") && is_version("1!2.0+cu118.x") && !is_version("") && !is_version("1 --x"));
        assert_eq!(normal("Foo_.-Bar.baz"), "foo-bar-baz");
        assert!(is_module("a.b_c") && !is_module("a..b") && !is_module("1a") && !is_module("a\nb"));
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        assert!(is_script(&words(&["uvicorn", "--version"])) && is_script(&words(&["pip3.11"])));
        assert!(!is_script(&words(&["a/b"])) && !is_script(&words(&[".."])) && !is_script(&[]));
    }
}
