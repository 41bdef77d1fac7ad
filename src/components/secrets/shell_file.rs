//! The one managed block that a shell file gets, and the lines in it that step aside.

use super::buffer::SecretBuf;
use super::model::VarName;
use super::shell::{self, Script};
use crate::base::name::ComponentName;
use crate::base::secret::Secret;
use std::ops::Range;

/// Put before each line of an assignment that the block replaces. Taking it away again brings the line back.
const ASIDE: &[u8] = b"# kbpack: ";

/// A managed block in a shell file.
pub(super) struct Block {
    /// The component it belongs to.
    pub(super) component: String,
    /// From its first marker to the end of the line of its last.
    pub(super) span: Range<usize>,
}

/// A shell file as it is to be.
pub(super) struct Edited {
    pub(super) bytes: Secret,
    /// The variables whose assignments are commented out, and the lines (from 1).
    pub(super) aside: Vec<(String, usize)>,
    /// Whether the block is new or differs from the one that was there.
    pub(super) block_is_new: bool,
}

/// The number of the line (from 1) in which offset `at` lies.
pub(super) fn line_of(src: &[u8], at: usize) -> usize {
    src[..at.min(src.len())].iter().filter(|&&c| c == b'\n').count() + 1
}

/// The managed blocks of a script. Markers without their partner are an error: the line, and what is wrong.
pub(super) fn blocks(src: &[u8], script: &Script) -> Result<Vec<Block>, (usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, usize)> = None;
    for comment in &script.comments {
        let text = String::from_utf8_lossy(&src[comment.clone()]);
        let name = |head, tail| {
            let name = text.strip_prefix(head)?.strip_suffix(tail)?;
            ComponentName::new(name).map(|_| name.to_owned())
        };
        if let Some(name) = name("# >>> kbpack ", " >>>") {
            if open.is_some() {
                break;
            }
            open = Some((name, comment.start));
        } else if let Some(name) = name("# <<< kbpack ", " <<<") {
            let end = (comment.end + 1).min(src.len());
            match open.take() {
                Some((component, start)) if component == name => {
                    blocks.push(Block { component, span: start..end });
                }
                _ => {
                    return Err((
                        line_of(src, comment.start),
                        "the end of a kbpack block has no beginning".to_owned(),
                    ))
                }
            }
        }
    }
    match open {
        Some((_, start)) => Err((line_of(src, start), "a kbpack block has no end".to_owned())),
        None => Ok(blocks),
    }
}

/// The block of `component`, which loads the file that `quoted_path` (quoted for the shell) names.
fn block_text(component: &str, quoted_path: &str) -> String {
    format!(
        "# >>> kbpack {component} >>>\n\
         # Loads the secrets that kbpack brought here. An import writes this block anew.\n\
         {}\n\
         # <<< kbpack {component} <<<\n",
        load_line(quoted_path)
    )
}

/// What the shell newly runs.
pub(super) fn load_line(quoted_path: &str) -> String {
    format!("if [ -r {quoted_path} ]; then . {quoted_path}; fi")
}

/// `src` with the block in it, and with no assignment of `names` that would come after it or is stale. The error says
/// in which line (from 1) what stands in the way.
pub(super) fn edit(
    src: &[u8],
    component: &str,
    quoted_path: &str,
    names: &[&VarName],
) -> Result<Edited, (usize, String)> {
    let script = shell::parse(src).map_err(|b| (line_of(src, b.at), b.why.to_owned()))?;
    let text = block_text(component, quoted_path);
    let mut own = blocks(src, &script)?.into_iter().filter(|b| b.component == component);
    let (place, block_is_new) = match (own.next(), own.next()) {
        (Some(block), None) => (block.span.clone(), src[block.span] != *text.as_bytes()),
        (Some(_), Some(second)) => {
            return Err((
                line_of(src, second.span.start),
                "a second kbpack block of the same component".to_owned(),
            ))
        }
        (None, _) => {
            let at = place_for_block(src, &script);
            (at..at, true)
        }
    };
    let managed = |name: &str| names.iter().any(|n| n.as_str() == name);
    let mut lines = Vec::new();
    let mut aside = Vec::new();
    for assignment in script.assignments.iter().filter(|a| managed(&a.name)) {
        let line = line_of(src, assignment.at);
        match own_lines(src, &script, assignment.at, managed) {
            Some(span) => {
                aside.push((assignment.name.clone(), line));
                lines.extend(line_starts(src, span));
            }
            // Before the block, it does no harm.
            None if assignment.at < place.start => {}
            None => {
                return Err((
                    line,
                    format!("${} is set in a way that cannot be taken out safely", assignment.name),
                ))
            }
        }
    }
    lines.sort_unstable();
    lines.dedup();

    let mut out = SecretBuf::with_capacity(src.len() + text.len() + lines.len() * ASIDE.len() + 1);
    let mut copied = 0;
    let mut copy = |out: &mut SecretBuf, to: usize, next: usize| {
        out.extend(&src[copied..to]);
        copied = next;
    };
    let (before, after): (Vec<usize>, Vec<usize>) = lines.into_iter().partition(|&at| at < place.start);
    for at in before {
        copy(&mut out, at, at);
        out.extend(ASIDE);
    }
    copy(&mut out, place.start, place.end);
    if out.bytes().last().is_some_and(|&c| c != b'\n') {
        out.push(b'\n');
    }
    out.extend(text.as_bytes());
    for at in after {
        copy(&mut out, at, at);
        out.extend(ASIDE);
    }
    copy(&mut out, src.len(), src.len());
    Ok(Edited { bytes: out.into_secret(), aside, block_is_new })
}

/// Before the first statement that may end the reading of the file (Ubuntu's `.bashrc` returns there for shells that
/// are not interactive), with the comment above it; else at the top.
fn place_for_block(src: &[u8], script: &Script) -> usize {
    let top = match src.starts_with(b"#!") {
        true => src.iter().position(|&c| c == b'\n').map_or(src.len(), |end| end + 1),
        false => 0,
    };
    let Some(statement) = script.statements.iter().find(|s| s.returns) else { return top };
    let mut at = whole_lines(src, script, statement.span.clone()).start;
    while at > top {
        let above = src[..at - 1].iter().rposition(|&c| c == b'\n').map_or(0, |end| end + 1);
        let is_comment = script.comments.iter().any(|c| c.start == above);
        if !is_comment || src[above..].starts_with(b"# <<< kbpack ") || src[above..].starts_with(b"#!") {
            break;
        }
        at = above;
    }
    at
}

/// The lines of the statement at `at`, if commenting them out takes away assignments of managed variables and nothing
/// else.
fn own_lines(src: &[u8], script: &Script, at: usize, managed: impl Fn(&str) -> bool) -> Option<Range<usize>> {
    let statement = script.statements.iter().find(|s| s.span.contains(&at))?;
    let span = whole_lines(src, script, statement.span.clone());
    let touched = script.statements.iter().filter(|s| s.span.start < span.end && s.span.end > span.start);
    let harmless = |names: &Option<Vec<String>>| names.as_ref().is_some_and(|n| n.iter().all(|n| managed(n)));
    touched.map(|s| &s.only_assigns).all(harmless).then_some(span)
}

/// `span` widened to whole lines, and to every statement that has a part in them.
fn whole_lines(src: &[u8], script: &Script, mut span: Range<usize>) -> Range<usize> {
    loop {
        let start = src[..span.start].iter().rposition(|&c| c == b'\n').map_or(0, |end| end + 1);
        let end = src[span.end..].iter().position(|&c| c == b'\n').map_or(src.len(), |len| span.end + len);
        let touched = script.statements.iter().filter(|s| s.span.start < end && s.span.end > start);
        let wider = touched.fold(start..end, |w, s| w.start.min(s.span.start)..w.end.max(s.span.end));
        if wider == span {
            return span;
        }
        span = wider;
    }
}

fn line_starts(src: &[u8], span: Range<usize>) -> impl Iterator<Item = usize> + '_ {
    let later = span.clone().skip(1).filter(|&at| src[at - 1] == b'\n');
    std::iter::once(span.start).chain(later)
}
