//! The archive as a whole: what is written reads back, stock tar agrees, and each rule of chapter C broken once.

use super::header::{header_block, padding, BLOCK};
use super::*;
use crate::base::digest::Digest;
use crate::base::fault::{carried, Fault, Faulty};
use crate::base::limits::PART_SIZE;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::process::Command;

const ID: BundleId = BundleId([0xab; 32]);
/// `new` writes `README.txt` and `KBPACK` before what is added; these are where members stand in the sample.
const KEY0: usize = 2;
const PART1: usize = 4;
const SUMS: usize = 7;

fn part(stream: u32, part: u32) -> MemberName {
    MemberName::Part { stream, part }
}

fn write(members: &[(MemberName, &[u8])]) -> io::Result<Vec<u8>> {
    let mut writer = ContainerWriter::new(Vec::new(), ID)?;
    for (name, content) in members {
        assert_eq!(writer.add(name, content)?, Digest::of(content));
    }
    writer.finish(|_| Ok::<_, io::Error>("the seal\n".to_owned()))
}

/// Two key files, two streams and the manifest, all small.
fn sample() -> Vec<u8> {
    let members: [(MemberName, &[u8]); 5] = [
        (MemberName::Key(0), b"first key"),
        (MemberName::Key(1), b"second key"),
        (part(2, 1), &[7; 512]),
        (part(1, 1), b"one"),
        (part(3, 1), b"manifest"),
    ];
    write(&members).unwrap()
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn scan(bytes: &[u8]) -> Result<Container, FormatError> {
    Container::scan(&file(bytes))
}

/// Header, content and padding of each member.
fn split(bytes: &[u8]) -> Vec<Vec<u8>> {
    let container = scan(bytes).unwrap();
    let chunk = |m: &Member| {
        let end = m.offset + m.size + padding(m.size) as u64;
        bytes[m.offset as usize - BLOCK..end as usize].to_vec()
    };
    container.members().iter().map(chunk).collect()
}

fn join(members: &[Vec<u8>]) -> Vec<u8> {
    [members.concat(), vec![0; 2 * BLOCK]].concat()
}

/// A member as anyone's tar could write it, with a right checksum.
fn foreign(path: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::from_byte_slice(&header_block(&ID, &MemberName::Id, 0)).clone();
    header.as_mut_bytes()[..100].fill(0);
    header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    header.as_mut_bytes()[156] = kind;
    header.set_size(content.len() as u64);
    header.set_cksum();
    // The tar crate ends the checksum the other way round than GNU tar.
    let sum = header.cksum().unwrap();
    header.as_mut_bytes()[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    [header.as_bytes(), content, &vec![0; padding(content.len() as u64)]].concat()
}

/// The sample with its members changed.
fn tampered(change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Result<Container, FormatError> {
    let mut members = split(&sample());
    change(&mut members);
    scan(&join(&members))
}

#[track_caller]
fn refused(rule: &str, result: Result<Container, FormatError>) {
    let error = result.expect_err(rule);
    assert_eq!(error.rule(), rule, "{error}");
    let fault = if matches!(rule, "C7" | "C10") { Fault::Limit } else { Fault::Damaged };
    assert_eq!(error.fault(), fault, "{error}");
    assert!(!error.to_string().contains(char::is_control));
}

#[test]
fn round_trip() {
    let full = vec![1; PART_SIZE];
    let members: [(MemberName, &[u8]); 7] = [
        (MemberName::Key(0), b"key"),
        (part(1, 1), &full),
        (part(2, 1), &full),
        (part(1, 2), &full),
        (part(2, 2), b"end of two"),
        (part(3, 1), &full),
        (part(3, 2), b"end of manifest"),
    ];
    let bytes = write(&members).unwrap();
    let file = file(&bytes);
    let container = Container::scan(&file).unwrap();
    assert_eq!(container.id(), ID);
    assert_eq!(container.stream_count(), 3);
    assert_eq!(container.keys().map(|m| m.name).collect::<Vec<_>>(), [MemberName::Key(0)]);
    let names = |stream| container.parts(stream).iter().map(|m| m.name).collect::<Vec<_>>();
    assert_eq!(names(1), [part(1, 1), part(1, 2)]);
    assert_eq!(names(2), [part(2, 1), part(2, 2)]);
    assert_eq!(names(3), [part(3, 1), part(3, 2)]);
    assert_eq!((names(0), names(4), names(u32::MAX)), (vec![], vec![], vec![]));

    let sums = Sums::parse(&container.read(&file, container.sums()).unwrap(), &container).unwrap();
    for (member, (name, content)) in container.members()[2..].iter().zip(&members) {
        assert_eq!(member.name, *name);
        assert_eq!(&container.read(&file, member).unwrap(), content);
        assert_eq!(sums.digest_of(name), Digest::of(content));
    }
    assert_eq!(sums.digest_of(&MemberName::Readme), Digest::of(README.as_bytes()));
    assert_eq!(container.read(&file, container.seal()).unwrap(), b"the seal\n");

    let beyond = Member { offset: u64::MAX, ..container.members()[0] };
    assert_eq!(container.read(&file, &beyond).unwrap_err().rule(), "C1");
    let too_large = Member { size: 65537, ..container.members()[0] };
    assert_eq!(container.read(&file, &too_large).unwrap_err().rule(), "C10");
}

#[test]
fn gnu_tar_reads_it_and_writes_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = sample();
    std::fs::write(dir.path().join("bundle"), &bytes).unwrap();
    let script = "set -e
        tar -tf bundle > names; tar -xf bundle
        tar --format=ustar --mode=0600 --owner=0 --group=0 --numeric-owner --mtime=@0 -b1 --no-recursion -T names -cf again
        cd kbpack-*/; sha256sum --check --strict --quiet SHA256SUMS";
    let out = Command::new("bash").args(["-c", script]).current_dir(dir.path()).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    assert!(std::fs::read(dir.path().join("again")).unwrap() == bytes);
    let folder = dir.path().join(ID.folder());
    assert_eq!(std::fs::read(folder.join("s/000003/000001")).unwrap(), b"manifest");
}

#[test]
fn the_writer_keeps_the_rules_too() {
    let rule = |members: &[(MemberName, &[u8])]| {
        let error = write(members).unwrap_err();
        let rule = error
            .get_ref()
            .and_then(|e| e.downcast_ref::<crate::base::fault::Carried>())
            .map(|e| e.to_string());
        assert!(carried(&error).is_some());
        rule.unwrap()
    };
    assert!(rule(&[]).ends_with("(rule C6)"));
    assert!(rule(&[(part(1, 1), b"x")]).ends_with("(rule C6)"));
    assert!(rule(&[(MemberName::Key(0), b"")]).ends_with("(rule C10)"));
    assert!(
        rule(&[(MemberName::Key(0), b"k"), (part(1, 1), b"x"), (part(1, 2), b"x")]).ends_with("(rule C8)")
    );
    assert!(rule(&[(MemberName::Key(0), b"k"), (part(2, 1), b"x")]).ends_with("(rule C9)"));
    assert!(rule(&[(MemberName::Key(0), b"k"), (part(0, 1), b"x")]).ends_with("(rule C8)"));

    let mut writer = ContainerWriter::new(Vec::new(), ID).unwrap();
    assert_eq!(writer.add(&MemberName::Sums, b"x").unwrap_err().kind(), io::ErrorKind::InvalidInput);
    writer.add(&MemberName::Key(0), b"k").unwrap();
    writer.add(&part(1, 1), b"m").unwrap();
    let error = writer.finish(|_| Err::<String, _>(io::Error::other("no signing key"))).unwrap_err();
    assert_eq!(error.to_string(), "no signing key");
}

#[test]
fn cut_anywhere() {
    let bytes = sample();
    let file = file(&bytes);
    for len in (0..bytes.len()).rev() {
        file.set_len(len as u64).unwrap();
        let error = Container::scan(&file).expect_err("cut");
        assert_eq!(error.fault(), Fault::Damaged);
        assert_eq!(error.rule(), if len < BLOCK { "C2" } else { "C1" }, "{len}: {error}");
    }
}

#[test]
fn something_after_the_end() {
    let bytes = sample();
    for tail in [&b"\0"[..], b"x", &[0; 512], &bytes] {
        refused("C13", scan(&[&bytes, tail].concat()));
    }
    let blocks = bytes.len() - 2 * BLOCK;
    refused("C13", scan(&[&bytes[..blocks], &bytes].concat()));
    refused("C13", tampered(|members| members.push(foreign("x", b'0', b""))));
    refused("C6", tampered(|members| members.truncate(SUMS)));
}

#[test]
fn members_missing_repeated_or_moved() {
    for (rule, remove) in [("C2", 0), ("C2", 1), ("C6", KEY0), ("C9", PART1), ("C6", SUMS), ("C6", SUMS + 1)]
    {
        refused(rule, tampered(|members| drop(members.remove(remove))));
    }
    for (rule, at) in [("C2", 0), ("C6", 1), ("C6", KEY0), ("C8", PART1), ("C6", SUMS), ("C13", SUMS + 1)] {
        refused(rule, tampered(|members| members.insert(at, members[at].clone())));
    }
    refused("C2", tampered(|members| members.swap(0, 1)));
    refused("C6", tampered(|members| members.swap(KEY0, KEY0 + 1)));
    refused("C6", tampered(|members| members.swap(KEY0 + 1, PART1)));
    refused("C9", tampered(|members| members.swap(PART1 + 1, PART1 + 2)));
    refused("C6", tampered(|members| members.swap(SUMS, SUMS + 1)));
    // Streams may come in any order among themselves.
    tampered(|members| members.swap(PART1, PART1 + 1)).unwrap();
}

#[test]
fn members_that_do_not_belong() {
    let folder = ID.folder();
    for path in [
        "extra",
        "keys/2.AGE",
        "keys/02.age",
        "s/000001/2",
        "s/1/000002",
        "s/000001/../KBPACK",
        "",
        "/KBPACK",
        "s",
        "s/000001/000002\u{1b}[2J",
        "./KBPACK",
    ] {
        let member = foreign(&format!("{folder}/{path}"), b'0', b"x");
        refused("C4", tampered(|members| members.insert(PART1, member)));
    }
    refused("C4", tampered(|members| members.insert(PART1, foreign("no folder", b'0', b"x"))));
    for other in ["kbpack-0000000000000000", "..", ""] {
        let member = foreign(&format!("{other}/s/000001/000001"), b'0', b"x");
        refused("C5", tampered(|members| members.insert(PART1, member)));
    }
}

#[test]
fn extensions_and_other_types() {
    let name = format!("{}/s/000001/000001", ID.folder());
    for kind in *b"xgLKS1234567\0" {
        refused("C3", tampered(|members| members.insert(PART1, foreign(&name, kind, b"x"))));
    }
    let pax = foreign("PaxHeaders/000001", b'x', b"20 path=/etc/passwd\n");
    refused("C5", tampered(|members| members.insert(PART1, pax)));
    // The same helper with type '0' makes what the writer makes: the refusals above are for the type alone.
    assert_eq!(foreign(&name, b'0', b"one"), split(&sample())[PART1 + 1]);
}

#[test]
fn ids_and_versions() {
    let id_file = |content: &str| foreign(&format!("{}/KBPACK", ID.folder()), b'0', content.as_bytes());
    let other = BundleId([0xcd; 32]);
    refused("C5", tampered(|members| members[1] = id_file(&other.file())));
    // The first eight bytes stand in the folder's name; the others must be right too, by rules B2 to B4.
    refused("C2", tampered(|members| members[1] = id_file(&ID.file().replace("ab\n", "AB\n"))));
    refused("C2", tampered(|members| members[1] = id_file("kbpack 1\n")));
    let newer = tampered(|members| members[1] = id_file("kbpack 2\nand more that is new\n")).unwrap_err();
    assert_eq!(newer.fault(), Fault::Damaged);
    assert_eq!(newer.remedy().as_deref(), Some("open it with a newer kbpack"));
    for no_bundle in [&b""[..], b"hello", &[0; 4096], &[0xff; 4096], &foreign("x/README.md", b'0', b"x")] {
        refused("C2", scan(no_bundle));
    }
    refused("C2", Container::scan(&File::open("/").unwrap()));
}

#[test]
fn sizes_over_the_caps() {
    for (index, max) in [(KEY0, 128 << 10), (PART1, 8 << 20), (SUMS, 256 << 20), (SUMS + 1, 64 << 10)] {
        let bytes = sample();
        let name = scan(&bytes).unwrap().members()[index].name;
        for (size, rule) in [(max, "C1"), (max + 1, "C10"), ((1 << 33) - 1, "C10")] {
            let result =
                tampered(|members| members[index][..BLOCK].copy_from_slice(&header_block(&ID, &name, size)));
            refused(rule, result);
        }
        let empty = tampered(|members| members[index] = header_block(&ID, &name, 0).to_vec()).unwrap_err();
        assert_eq!((empty.rule(), empty.fault()), ("C10", Fault::Damaged));
    }
}

#[test]
fn any_flipped_byte_outside_the_contents_is_refused() {
    let bytes = sample();
    let file = file(&bytes);
    let original = Container::scan(&file).unwrap();
    let free = |at: u64| {
        let inside = |m: &&Member| (m.offset..m.offset + m.size).contains(&at);
        original.members().iter().find(inside).is_some_and(|m| m.name != MemberName::Id)
    };
    for (at, byte) in bytes.iter().enumerate() {
        for flip in [1, 0x80] {
            file.write_all_at(&[byte ^ flip], at as u64).unwrap();
            match Container::scan(&file) {
                Ok(container) => {
                    // The second half of the id is bound by KBPACK's digest and the key file, not by the folder.
                    let other_id = container.id() != ID && container.id().folder() == ID.folder();
                    assert!(free(at as u64) && container == original || other_id, "byte {at}");
                }
                Err(error) => assert!(!free(at as u64), "byte {at}: {error}"),
            }
        }
        file.write_all_at(&[*byte], at as u64).unwrap();
    }
}

#[test]
fn random_damage_never_panics_and_never_passes_for_the_original() {
    let bytes = sample();
    let original = scan(&bytes).unwrap();
    let blank = |bytes: &[u8]| {
        let mut blank = bytes.to_vec();
        for m in original.members().iter().filter(|m| m.name != MemberName::Id) {
            if let Some(content) = blank.get_mut(m.offset as usize..(m.offset + m.size) as usize) {
                content.fill(0);
            }
        }
        blank
    };
    // A plain xorshift: the same damage in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..3000 {
        let mut damaged = bytes.clone();
        for _ in 0..=random(3) {
            let (at, len) = (random(damaged.len()), random(600));
            let end = (at + len).min(damaged.len());
            match random(4) {
                0 => damaged[at] = random(256) as u8,
                1 => drop(damaged.drain(at..end)),
                2 => damaged.splice(at..at, bytes[..len].to_vec()).for_each(drop),
                _ => damaged[at..end].fill(random(256) as u8),
            }
        }
        if let Ok(container) = scan(&damaged) {
            assert!(container != original || blank(&damaged) == blank(&bytes));
        }
    }
}

#[test]
fn sums_have_one_form() {
    let bytes = sample();
    let container = scan(&bytes).unwrap();
    let good = String::from_utf8(container.read(&file(&bytes), container.sums()).unwrap()).unwrap();
    let parse = |text: &str| Sums::parse(text.as_bytes(), &container);
    assert_eq!(good.lines().count(), SUMS);
    assert_eq!(parse(&good).unwrap().digest_of(&part(2, 1)), Digest::of(&[7; 512]));

    let lines: Vec<&str> = good.lines().collect();
    let without = |index: usize| {
        let mut lines = lines.clone();
        lines.remove(index);
        lines.join("\n") + "\n"
    };
    let mut swapped = lines.clone();
    swapped.swap(PART1, PART1 + 1);
    let digest = &good[..64];
    for bad in [
        String::new(),
        "\n".to_owned(),
        without(0),
        without(PART1),
        without(SUMS - 1),
        swapped.join("\n") + "\n",
        good.replace('\n', "\r\n"),
        good.replace(digest, &digest.to_uppercase()),
        good.replace("  KBPACK", " *KBPACK"),
        good.replace("  KBPACK", " KBPACK"),
        good.replace("  KBPACK", "  ./KBPACK"),
        good.trim_end().to_owned(),
        format!("\u{feff}{good}"),
        format!("{good}\n"),
        format!("{good}{digest}  SHA256SUMS\n"),
        format!("# comment\n{good}"),
        good.replacen(&digest[..2], "é", 1),
    ] {
        let error = parse(&bad).map(|_| ()).unwrap_err();
        assert_eq!((error.rule(), error.fault()), ("S1", Fault::Damaged), "{bad:?}");
    }
}

#[test]
fn every_rule_that_an_error_names_stands_in_the_format() {
    let text = include_str!("../../docs/FORMAT.md");
    let code = concat!(include_str!("error.rs"), include_str!("validate.rs"));
    let rules: Vec<&str> = code
        .split('"')
        .filter(|s| matches!(s.as_bytes(), [b'A'..=b'Z', digits @ ..] if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)))
        .collect();
    assert!(rules.len() > 20);
    for rule in rules {
        assert!(text.contains(&format!("\n**{rule}.")), "{rule}");
    }
}
