//! What anybody on the way can do: cut, add, move, flip (chapters C and S3).

use crate::forge::{header, rechecked, span, spans, with_header, Members};
use crate::kit::{attack, run, Attack, Kit, Random, Seen};

#[test]
fn cut_and_lengthened() {
    let kit = Kit::new();
    let bundle = &kit.bundle;
    let mut rows = vec![
        attack("empty-file", vec![], 3, "not a kbpack bundle", Seen::ByAll),
        attack("one-byte", bundle[..1].to_vec(), 3, "not a kbpack bundle", Seen::ByAll),
        attack("zeros", vec![0; 8192], 3, "not a kbpack bundle", Seen::ByAll),
        attack("no-end-blocks", bundle[..bundle.len() - 1024].to_vec(), 3, "cut off", Seen::ByAll),
        attack("one-end-block", bundle[..bundle.len() - 512].to_vec(), 3, "cut off", Seen::ByAll),
        attack("trailing-byte", [bundle, &b"x"[..]].concat(), 3, "rule C13", Seen::ByAll),
        attack("trailing-zero-block", [&bundle[..], &[0; 512]].concat(), 3, "rule C13", Seen::ByAll),
        attack(
            "trailing-garbage-in-end-blocks",
            with_byte(bundle, bundle.len() - 700, 1),
            3,
            "rule C13",
            Seen::ByAll,
        ),
        attack("second-archive-appended", [&bundle[..], bundle].concat(), 3, "rule C13", Seen::ByAll),
        attack("a-byte-before", [b"x", &bundle[..]].concat(), 3, "rule C2", Seen::ByAll),
    ];
    let mut random = Random(41);
    let mut cuts: Vec<usize> = (0..20).map(|_| 512 + random.below(bundle.len() - 1536)).collect();
    cuts.extend(spans(bundle).iter().flat_map(|span| [span.content.start, span.content.end, span.end]));
    rows.extend(cuts.into_iter().filter(|cut| cut % 512 != 0 || *cut < bundle.len() - 1024).map(|cut| {
        // Within the first two members it is not known yet to be a bundle.
        attack(format!("cut-at-{cut}"), bundle[..cut].to_vec(), 3, "cut off", Seen::ByAll)
    }));
    run(&kit, rows);
}

#[test]
fn members_that_should_not_be_there_or_should() {
    let kit = Kit::new();
    let good = Members::read(&kit.bundle);
    let whole = good.clone().with(|list| {
        let last = |name: &str| (name.to_owned(), kit.bundle[span(&kit.bundle, name).content].to_vec());
        list.extend([last("SHA256SUMS"), last("SHA256SUMS.sig")]);
    });
    assert_eq!(whole.archive(), kit.bundle, "the forge puts together what it takes apart");

    // Not sealed again: this is for those who see the archive's form only.
    let put = |change: fn(&mut Vec<(String, Vec<u8>)>)| whole.clone().with(change).archive();
    fn at(list: &[(String, Vec<u8>)], name: &str) -> usize {
        list.iter().position(|(n, _)| n == name).unwrap()
    }
    let with_key = |n: usize| format!("keys/{n}.age");
    let many_keys = good.clone().with(|list| {
        let key = list[2].clone();
        list.splice(2..3, (0..33).map(|n| (with_key(n), key.1.clone())));
    });
    run(
        &kit,
        vec![
            attack("duplicate-readme", put(|l| l.insert(1, l[0].clone())), 3, "rule C2", Seen::ByAll),
            attack("duplicate-kbpack", put(|l| l.insert(2, l[1].clone())), 3, "rule C6", Seen::ByAll),
            attack("duplicate-key-file", put(|l| l.insert(3, l[2].clone())), 3, "rule C6", Seen::ByAll),
            attack("duplicate-part", put(|l| l.insert(4, l[3].clone())), 3, "rule C8", Seen::ByAll),
            attack(
                "duplicate-sums",
                put(|l| l.insert(l.len() - 1, l[l.len() - 2].clone())),
                3,
                "rule C6",
                Seen::ByAll,
            ),
            attack("duplicate-seal", put(|l| l.push(l[l.len() - 1].clone())), 3, "rule C13", Seen::ByAll),
            attack("missing-readme", put(|l| drop(l.remove(0))), 3, "rule C2", Seen::ByAll),
            attack("missing-kbpack", put(|l| drop(l.remove(1))), 3, "rule C2", Seen::ByAll),
            attack("missing-key-file", put(|l| drop(l.remove(2))), 3, "rule C6", Seen::ByAll),
            attack(
                "missing-part",
                put(|l| drop(l.remove(at(l, "s/000002/000001")))),
                3,
                "rule C9",
                Seen::ByAll,
            ),
            attack("missing-manifest", put(|l| drop(l.remove(l.len() - 3))), 3, "rule S1", Seen::ByAll),
            attack("missing-sums", put(|l| drop(l.remove(l.len() - 2))), 3, "rule C6", Seen::ByAll),
            attack("no-streams", put(|l| l.retain(|(n, _)| !n.starts_with("s/"))), 3, "rule C6", Seen::ByAll),
            attack(
                "extra-file",
                put(|l| l.insert(3, ("notes.txt".into(), vec![1]))),
                3,
                "rule C4",
                Seen::ByAll,
            ),
            attack(
                "extra-name-climbs",
                put(|l| l.insert(3, ("../x".into(), vec![1]))),
                3,
                "rule C4",
                Seen::ByAll,
            ),
            attack(
                "extra-name-climbs-in-keys",
                put(|l| l.insert(3, ("keys/../1.age".into(), vec![1]))),
                3,
                "rule C4",
                Seen::ByAll,
            ),
            attack(
                "extra-name-with-escapes",
                put(|l| l.insert(3, ("\u{1b}[2J\u{7}".into(), vec![1]))),
                3,
                "rule C4",
                Seen::ByAll,
            ),
            attack(
                "extra-stream",
                put(|l| l.insert(3, ("s/000099/000001".into(), vec![1]))),
                3,
                "rule C9",
                Seen::ByAll,
            ),
            attack(
                "extra-part",
                put(|l| l.insert(4, ("s/000001/000002".into(), vec![1]))),
                3,
                "rule C8",
                Seen::ByAll,
            ),
            attack(
                "extra-empty-part",
                put(|l| l.insert(3, ("s/000001/000001".into(), vec![]))),
                3,
                "rule C10",
                Seen::ByAll,
            ),
            attack("number-not-canonical", put(|l| l[3].0 = "s/1/1".into()), 3, "rule C4", Seen::ByAll),
            attack(
                "number-of-seven-digits",
                put(|l| l[3].0 = "s/0000001/000001".into()),
                3,
                "rule C4",
                Seen::ByAll,
            ),
            attack(
                "stream-number-zero",
                put(|l| l[3].0 = "s/000000/000001".into()),
                3,
                "rule C4",
                Seen::ByAll,
            ),
            attack("kbpack-first", put(|l| l.swap(0, 1)), 3, "rule C2", Seen::ByAll),
            attack("key-file-behind-parts", put(|l| l.swap(2, 3)), 3, "rule C6", Seen::ByAll),
            attack(
                "seal-before-sums",
                put(|l| {
                    let n = l.len();
                    l.swap(n - 1, n - 2)
                }),
                3,
                "rule C6",
                Seen::ByAll,
            ),
            attack(
                "manifest-not-last",
                put(|l| {
                    let n = l.len();
                    l.swap(n - 3, n - 4)
                }),
                3,
                "rule C9",
                Seen::ByAll,
            ),
            attack("streams-reordered", put(|l| l.swap(3, 4)), 3, "rule S1", Seen::ByAll),
            attack("more-key-files-than-allowed", many_keys.sealed(&kit.source), 7, "rule C7", Seen::ByAll),
            attack(
                "folder-of-another-id",
                Members { folder: "kbpack-0000000000000000".into(), ..whole.clone() }.archive(),
                3,
                "rule C5",
                Seen::ByAll,
            ),
            attack(
                "folder-climbs",
                Members { folder: "..".into(), ..whole.clone() }.archive(),
                3,
                "rule C5",
                Seen::ByAll,
            ),
            attack(
                "large-readme",
                good.clone().with_content("README.txt", vec![b'a'; 65537]).sealed(&kit.source),
                3,
                "rule C2",
                Seen::ByAll,
            ),
            attack(
                "large-key-file",
                good.clone().with_content("keys/0.age", vec![b'a'; 131_073]).sealed(&kit.source),
                7,
                "rule C10",
                Seen::ByAll,
            ),
            attack(
                "large-part",
                good.clone().with_content("s/000001/000001", vec![b'a'; 8_388_609]).sealed(&kit.source),
                7,
                "rule C10",
                Seen::ByAll,
            ),
        ],
    );
}

#[test]
fn headers_of_another_kind() {
    let kit = Kit::new();
    let bundle = &kit.bundle;
    let typed = |name: &str, kind: u8| with_header(bundle, name, |block| block[156] = kind);
    let before_keys = |block: [u8; 512], content: &[u8]| {
        let at = span(bundle, "keys/0.age").header;
        let mut content = content.to_vec();
        content.resize(content.len().next_multiple_of(512), 0);
        [&bundle[..at], &block, &content, &bundle[at..]].concat()
    };
    let extension = |path: &str, kind: u8, content: &[u8]| {
        let mut block = header(path, content.len());
        block[156] = kind;
        before_keys(rechecked(block), content)
    };
    let own = format!("kbpack-{}/keys/0.age", &kit.inside.id[..16]);
    let mut rows = vec![
        attack("pax-header", extension("././@PaxHeader", b'x', b"11 size=99\n"), 3, "rule C5", Seen::ByAll),
        attack(
            "pax-global-header",
            extension("pax_global_header", b'g', b"11 size=99\n"),
            3,
            "rule C4",
            Seen::ByAll,
        ),
        attack(
            "pax-header-with-a-members-name",
            extension(&own, b'x', b"11 size=99\n"),
            3,
            "PAX extension",
            Seen::ByAll,
        ),
        attack("gnu-long-name", extension("././@LongLink", b'L', b"x\0"), 3, "rule C5", Seen::ByAll),
        attack(
            "gnu-long-name-with-a-members-name",
            extension(&own, b'L', b"x\0"),
            3,
            "GNU extension",
            Seen::ByAll,
        ),
        attack("symlink", typed("s/000001/000001", b'2'), 3, "no regular file", Seen::ByAll),
        attack("hard-link", typed("s/000001/000001", b'1'), 3, "no regular file", Seen::ByAll),
        attack("directory", typed("keys/0.age", b'5'), 3, "no regular file", Seen::ByAll),
        attack("device", typed("SHA256SUMS", b'3'), 3, "no regular file", Seen::ByAll),
        attack("old-regular-type", typed("keys/0.age", 0), 3, "rule C3", Seen::ByAll),
        attack(
            "huge-size",
            with_header(bundle, "s/000001/000001", |b| b[124..135].fill(b'7')),
            7,
            "rule C10",
            Seen::ByAll,
        ),
        attack(
            "size-of-a-part-beyond-the-end",
            with_header(bundle, "s/000001/000001", |b| b[124..135].copy_from_slice(b"00040000000")),
            3,
            "cut off",
            Seen::ByAll,
        ),
        attack(
            "size-of-sums-beyond-the-end",
            with_header(bundle, "SHA256SUMS", |b| b[124..135].copy_from_slice(b"01777777777")),
            3,
            "cut off",
            Seen::ByAll,
        ),
        attack(
            "size-in-base-256",
            with_header(bundle, "keys/0.age", |b| {
                b[124] = 0x80;
                b[125..135].fill(0)
            }),
            3,
            "octal",
            Seen::ByAll,
        ),
        attack(
            "size-with-blanks",
            with_header(bundle, "keys/0.age", |b| b[124] = b' '),
            3,
            "octal",
            Seen::ByAll,
        ),
        attack(
            "name-goes-on-after-nul",
            with_header(bundle, "keys/0.age", |b| b[99] = b'x'),
            3,
            "rule C3",
            Seen::ByAll,
        ),
    ];
    // One byte in each field, the checksum right; and the checksum itself.
    for (field, at) in [
        ("mode", 104),
        ("uid", 110),
        ("gid", 118),
        ("mtime", 146),
        ("linkname", 157),
        ("magic", 262),
        ("version", 264),
        ("uname", 265),
        ("gname", 297),
        ("devmajor", 330),
        ("devminor", 343),
        ("prefix", 345),
        ("rest", 511),
    ] {
        let odd = with_header(bundle, "keys/0.age", |block| block[at] ^= 1);
        rows.push(attack(format!("odd-header-{field}"), odd, 3, "rule C3", Seen::ByAll));
    }
    let start = span(bundle, "keys/0.age").header;
    rows.extend([148, 154, 155].map(|at| {
        let name = format!("odd-header-chksum-{at}");
        attack(name, with_byte(bundle, start + at, bundle[start + at] ^ 1), 3, "rule C3", Seen::ByAll)
    }));
    run(&kit, rows);
}

#[test]
fn bytes_that_are_not_what_they_were() {
    let kit = Kit::new();
    let bundle = &kit.bundle;
    let good = Members::read(bundle);
    let flipped = |name: &str| {
        let content = span(bundle, name).content;
        let at = content.start + content.len() / 2;
        with_byte(bundle, at, bundle[at] ^ 0x10)
    };
    let flip = |name: &str, code, words: &str, seen| {
        attack(format!("flip-{}", name.replace('/', "-")), flipped(name), code, words, seen)
    };
    let padding = |name: &str| {
        attack(
            format!("padding-{name}"),
            with_byte(bundle, span(bundle, name).end - 1, 1),
            3,
            "rule C12",
            Seen::ByAll,
        )
    };
    let last = format!("s/{:06}/000001", kit.inside.streams.len() + 1);
    let id_file = |text: &str| good.clone().with_content("KBPACK", text).sealed(&kit.source);
    let id = &kit.inside.id;
    let mut rows: Vec<Attack> = vec![
        flip("README.txt", 3, "rule S3", Seen::ByDigests),
        flip("KBPACK", 3, "rule C", Seen::ByAll),
        flip("keys/0.age", 3, "rule S3", Seen::ByAll),
        flip(&last, 3, "rule S3", Seen::ByAll),
        flip("SHA256SUMS", 4, "signature", Seen::ByAll),
        flip("SHA256SUMS.sig", 4, "signature", Seen::ByAll),
        padding("README.txt"),
        padding("KBPACK"),
        padding("SHA256SUMS"),
        padding("SHA256SUMS.sig"),
        attack("newer-version", id_file("kbpack 2\nand something new\n"), 3, "version '2'", Seen::ByAll),
        attack("version-with-escapes", id_file("kbpack \u{1b}[2J\u{7}\nid\n"), 3, "version", Seen::ByAll),
        attack(
            "id-in-upper-case",
            id_file(&format!("kbpack 1\nid {}\n", id.to_uppercase())),
            3,
            "rule C2",
            Seen::ByAll,
        ),
        attack("id-too-short", id_file("kbpack 1\nid abc\n"), 3, "rule C2", Seen::ByAll),
        attack(
            "id-file-with-more-lines",
            id_file(&format!("kbpack 1\nid {id}\nid {id}\n")),
            3,
            "rule C2",
            Seen::ByAll,
        ),
        attack("id-file-crlf", id_file(&format!("kbpack 1\r\nid {id}\r\n")), 3, "rule C2", Seen::ByAll),
    ];
    for stream in 1..=kit.inside.streams.len() {
        rows.push(flip(&format!("s/{stream:06}/000001"), 3, "rule S3", Seen::ByDigests));
    }
    run(&kit, rows);
}

fn with_byte(bytes: &[u8], at: usize, value: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] = value;
    bytes
}
