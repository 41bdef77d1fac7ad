//! The layers of DESIGN section 5, held to: no file uses a module of a layer above its own, and the lower
//! layers' neighbours keep to themselves.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// Modules under `src/`, with their layer. A module may use itself and modules of lower layers.
const LAYERS: &[(&str, u32)] = &[
    ("base", 0),
    ("format", 1),
    ("crypto", 1),
    ("component", 2),
    ("pipeline", 3), // L2 as well; it implements the streams of component.rs, never the other way round
    ("components", 3),
    ("engine", 4),
    ("report", 5),
    ("cli", 6), // L5 as well; it calls report, never the other way round
];

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

fn layer(module: &str) -> u32 {
    LAYERS
        .iter()
        .find(|(name, _)| *name == module)
        .unwrap_or_else(|| panic!("module '{module}' has no layer"))
        .1
}

/// Every `crate::MODULE` in the text.
fn used(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let ident =
        |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    code.flat_map(|line| line.split("crate::").skip(1).map(ident).collect::<Vec<_>>()).collect()
}

#[test]
fn no_path_points_up() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 30);
    let mut wrong = Vec::new();
    for file in files {
        let inside = file.strip_prefix(&src).unwrap();
        let first = inside
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap()
            .trim_end_matches(".rs")
            .to_owned();
        if matches!(first.as_str(), "main" | "lib") {
            continue;
        }
        for module in used(&fs::read_to_string(&file).unwrap()) {
            let allowed = module == first || layer(&module) < layer(&first);
            if !allowed {
                wrong.push(format!("{} uses crate::{module}", inside.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn nothing_in_src_knows_the_first_user() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let is_test = |file: &Path| file.ends_with("tests.rs") || file.iter().any(|part| part == "tests");
    // The demo plays the first user's part.
    let is_demo = |file: &Path| file.starts_with(src.join("cli/demo")) || file == src.join("cli/demo.rs");
    for file in files.iter().filter(|f| !is_demo(f) && !is_test(f)) {
        let text = fs::read_to_string(file).unwrap();
        // Examples in comments and tests may speak of it; code may not.
        let code = text.split("#[cfg(test)]").next().unwrap();
        let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            assert!(!line.to_lowercase().contains("claude"), "{}: {line}", file.display());
        }
    }
}
