//! Which member may follow which (rules C6 to C10). The writer and the reader ask the same questions here.

use super::error::FormatError;
use super::member::MemberName;
use crate::base::limits;

/// What was admitted so far.
#[derive(Default)]
pub(super) struct Order {
    last: Option<MemberName>,
    members: usize,
    /// The last part of each stream, stream 1 first. A stream not begun has part 0.
    streams: Vec<Tail>,
    /// How many parts in a row, up to now, are of one stream.
    run: u32,
}

/// Where a stream stands.
#[derive(Clone, Copy, Default)]
struct Tail {
    part: u32,
    /// The last part was short: none may follow.
    ended: bool,
}

impl Order {
    /// Takes the next member in, or says which rule it breaks.
    pub(super) fn admit(&mut self, name: &MemberName, size: u64) -> Result<(), FormatError> {
        let max = name.max_size();
        if size > max {
            return Err(FormatError::TooLarge { name: *name, size, max });
        }
        if size == 0 {
            return Err(FormatError::Empty { name: *name });
        }
        if self.members == limits::MAX_MEMBERS {
            return Err(FormatError::TooMany { what: "members", max: limits::MAX_MEMBERS });
        }
        self.follows(name)?;
        match *name {
            MemberName::Key(n) if n as usize >= limits::MAX_KEY_FILES => {
                return Err(FormatError::TooMany { what: "key files", max: limits::MAX_KEY_FILES });
            }
            MemberName::Part { stream, part } => self.admit_part(stream, part, size)?,
            MemberName::Sums => self.end_of_parts()?,
            _ => {}
        }
        self.members += 1;
        self.last = Some(*name);
        Ok(())
    }

    /// Whether the seal, the last member, was admitted.
    pub(super) fn is_complete(&self) -> bool {
        self.last == Some(MemberName::Seal)
    }

    /// Rule C6: the kinds in their order, each there, and the key files counted from 0.
    fn follows(&self, name: &MemberName) -> Result<(), FormatError> {
        use MemberName::{Id, Key, Part, Readme, Seal, Sums};
        let fits = match (self.last, *name) {
            (None, Readme) | (Some(Readme), Id) | (Some(Id), Key(0)) => true,
            (Some(Key(last)), Key(next)) => last.checked_add(1) == Some(next),
            (Some(Key(_) | Part { .. }), Part { .. }) => true,
            (Some(Part { .. }), Sums) | (Some(Sums), Seal) => true,
            _ => false,
        };
        fits.then_some(()).ok_or(FormatError::OutOfOrder { name: *name, last: self.last })
    }

    /// Rules C7 and C8: the parts of a stream are counted from 1, and all but the last are full.
    fn admit_part(&mut self, stream: u32, part: u32, size: u64) -> Result<(), FormatError> {
        for (number, max, what) in
            [(stream, limits::MAX_STREAMS, "streams"), (part, limits::MAX_PARTS, "parts in a stream")]
        {
            if number > max {
                return Err(FormatError::TooMany { what, max: max as usize });
            }
        }
        let name = MemberName::Part { stream, part };
        let Some(index) = (stream as usize).checked_sub(1) else {
            return Err(FormatError::PartOrder { name });
        };
        if self.streams.len() <= index {
            self.streams.resize(index + 1, Tail::default());
        }
        let tail = &mut self.streams[index];
        if part != tail.part + 1 || tail.ended {
            return Err(FormatError::PartOrder { name });
        }
        *tail = Tail { part, ended: size < limits::PART_SIZE as u64 };
        let same = matches!(self.last, Some(MemberName::Part { stream: last, .. }) if last == stream);
        self.run = if same { self.run + 1 } else { 1 };
        Ok(())
    }

    /// Rule C9: no stream is missing, and the manifest, the last of them, stands behind all others.
    fn end_of_parts(&self) -> Result<(), FormatError> {
        if let Some(missing) = self.streams.iter().position(|tail| tail.part == 0) {
            return Err(FormatError::MissingStream { stream: missing as u32 + 1 });
        }
        let manifest = self.streams.last().map_or(0, |tail| tail.part);
        let ends_with_manifest = matches!(self.last, Some(MemberName::Part { stream, .. })
            if stream as usize == self.streams.len());
        if !ends_with_manifest || self.run != manifest {
            return Err(FormatError::ManifestNotLast { stream: self.streams.len() as u32 });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: u64 = limits::PART_SIZE as u64;

    /// Admits members as text, `name` or `name=size`.
    fn admit(members: &str) -> Result<(), FormatError> {
        let mut order = Order::default();
        for member in members.split_whitespace() {
            let (name, size) = member.split_once('=').unwrap_or((member, "77"));
            let size = if size == "full" { FULL } else { size.parse().unwrap() };
            order.admit(&MemberName::parse(name).unwrap(), size)?;
        }
        assert!(order.is_complete());
        Ok(())
    }

    fn rule_of(members: &str) -> &'static str {
        admit(members).unwrap_err().rule()
    }

    const HEAD: &str = "README.txt KBPACK keys/0.age";

    #[test]
    fn what_is_allowed() {
        admit(&format!("{HEAD} s/000001/000001 SHA256SUMS SHA256SUMS.sig")).unwrap();
        admit(&format!(
            "{HEAD} keys/1.age s/000002/000001=full s/000001/000001=full s/000002/000002=full \
             s/000001/000002 s/000003/000001=full s/000003/000002 SHA256SUMS SHA256SUMS.sig"
        ))
        .unwrap();
    }

    #[test]
    fn kinds_out_of_order() {
        for members in [
            "KBPACK",
            "README.txt README.txt",
            "README.txt keys/0.age",
            "README.txt KBPACK s/000001/000001",
            "README.txt KBPACK keys/1.age",
            "README.txt KBPACK keys/0.age keys/0.age",
            "README.txt KBPACK keys/0.age keys/2.age",
            "README.txt KBPACK keys/0.age SHA256SUMS",
            "README.txt KBPACK keys/0.age s/000001/000001 keys/1.age",
            "README.txt KBPACK keys/0.age s/000001/000001 SHA256SUMS.sig",
            "README.txt KBPACK keys/0.age s/000001/000001 SHA256SUMS SHA256SUMS",
            "README.txt KBPACK keys/0.age s/000001/000001 SHA256SUMS s/000001/000002",
        ] {
            assert_eq!(rule_of(members), "C6", "{members}");
        }
    }

    #[test]
    fn parts_out_of_order() {
        for parts in [
            "s/000001/000002",
            "s/000001/000001=full s/000001/000001",
            "s/000001/000001=full s/000001/000003",
            "s/000001/000001=8388607 s/000001/000002",
        ] {
            assert_eq!(rule_of(&format!("{HEAD} {parts}")), "C8", "{parts}");
        }
        for parts in [
            "s/000002/000001",
            "s/000001/000001 s/000003/000001",
            "s/000002/000001 s/000001/000001",
            "s/000002/000001=full s/000001/000001 s/000002/000002",
        ] {
            assert_eq!(rule_of(&format!("{HEAD} {parts} SHA256SUMS")), "C9", "{parts}");
        }
    }

    #[test]
    fn sizes_and_counts() {
        for members in [
            "README.txt=65537",
            "README.txt KBPACK keys/0.age=131073",
            &format!("{HEAD} s/000001/000001=8388609"),
            &format!("{HEAD} s/000001/000001 SHA256SUMS=268435457"),
            &format!("{HEAD} s/000001/000001 SHA256SUMS SHA256SUMS.sig=65537"),
            &format!("{HEAD} s/000001/000001=0"),
        ] {
            assert_eq!(rule_of(members), "C10", "{members}");
        }
        let keys: String = (0..33).map(|n| format!(" keys/{n}.age")).collect();
        assert_eq!(rule_of(&format!("README.txt KBPACK{keys}")), "C7");

        // Seven digits are no name, but a writer may come to them.
        for (stream, part) in [(1_000_000, 1), (1, 1_000_000), (u32::MAX, u32::MAX)] {
            let mut order = Order { last: Some(MemberName::Key(0)), ..Order::default() };
            assert_eq!(order.admit(&MemberName::Part { stream, part }, 1).unwrap_err().rule(), "C7");
        }
        let mut order = Order { members: limits::MAX_MEMBERS, ..Order::default() };
        assert_eq!(order.admit(&MemberName::Readme, 1).unwrap_err().rule(), "C7");
    }
}
