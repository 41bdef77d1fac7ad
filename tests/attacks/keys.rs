//! Key files that attack whoever opens them, or that are another bundle's (chapter K, B3, B4).

use crate::forge::{age_header, encrypt, with_stanzas};
use crate::kit::{attack, run, Kit, Seen};
use age::x25519::Identity;

/// A stanza of six bytes.
const TINY: &str = "-> a\n\n";

#[test]
fn age_files() {
    let kit = Kit::new();
    let file = &kit.inside.key_files[0];
    let header = age_header(file);
    let with = |key_file: Vec<u8>| {
        let mut inside = kit.inside.clone();
        inside.key_files = vec![key_file];
        inside.sealed(&kit.source)
    };
    let stanzas = |stanzas: &str| with(with_stanzas(file, stanzas));
    let scrypt =
        |log_n: &str| stanzas(&format!("-> scrypt AAAAAAAAAAAAAAAAAAAAAA {log_n}\n{}\n", "A".repeat(43)));
    let full_line = "A".repeat(64);
    let body = |bytes: usize| format!("-> a\n{}\n", format!("{full_line}\n").repeat(bytes / 65));
    let long_line = format!("-> a {}\n\n", "b".repeat(65_000));
    let flipped = |at: usize| {
        let mut file = file.clone();
        file[at] ^= 1;
        with(file)
    };
    let text = kit.inside.key_text.as_bytes();
    let to_others = encrypt(&Identity::generate().to_public(), text);
    let armored =
        format!("-----BEGIN AGE ENCRYPTED FILE-----\n{}\n-----END AGE ENCRYPTED FILE-----\n", "A".repeat(64));
    let mut two = kit.inside.clone();
    two.key_files = vec![to_others.clone(), file.clone()];
    run(
        &kit,
        vec![
            attack("control-second-key-file-is-ours", two.sealed(&kit.source), 0, "", Seen::ByNone),
            attack("key-file-not-age", with(b"hello\n".to_vec()), 3, "age", Seen::WithKey),
            attack("key-file-of-escapes", with(b"\x1b[2J\x1b]0;x\x07\n".to_vec()), 3, "age", Seen::WithKey),
            attack("key-file-armored", with(armored.into_bytes()), 3, "age", Seen::WithKey),
            attack("key-file-for-others", with(to_others), 5, "no key opens it", Seen::WithKey),
            attack("key-file-header-cut", with(file[..header - 10].to_vec()), 3, "age", Seen::WithKey),
            attack("key-file-payload-cut", with(file[..file.len() - 1].to_vec()), 3, "age", Seen::WithKey),
            attack("key-file-without-payload", with(file[..header].to_vec()), 3, "age", Seen::WithKey),
            attack("key-file-mac-flipped", flipped(header - 10), 3, "age", Seen::WithKey),
            attack("key-file-payload-flipped", flipped(file.len() - 1), 3, "age", Seen::WithKey),
            attack("data-behind-the-key-file", with([&file[..], b"x"].concat()), 3, "age", Seen::WithKey),
            attack("two-key-files-in-one", with([&file[..], file].concat()), 3, "age", Seen::WithKey),
            attack("stanzas-50000", stanzas(&TINY.repeat(50_000)), 7, "rule C10", Seen::ByAll),
            attack("stanzas-8000-in-48-kb", stanzas(&TINY.repeat(8_000)), 7, "header", Seen::WithKey),
            attack("stanzas-33", stanzas(&TINY.repeat(33)), 7, "header", Seen::WithKey),
            attack("stanza-of-65-kb", stanzas(&body(66_560)), 7, "header", Seen::WithKey),
            attack("stanza-with-a-line-of-65-kb", stanzas(&long_line), 7, "header", Seen::WithKey),
            attack(
                "stanza-without-end",
                with([b"age-encryption.org/v1\n-> a\n", full_line.repeat(1500).as_bytes()].concat()),
                7,
                "header",
                Seen::WithKey,
            ),
            attack("stanza-of-escapes", stanzas("-> \u{1b}[2J x\n\n"), 3, "age", Seen::WithKey),
            attack("no-stanza", stanzas(""), 3, "age", Seen::WithKey),
            attack("scrypt-2-30", scrypt("30"), 7, "2^30", Seen::WithKey),
            attack("scrypt-2-21", scrypt("21"), 7, "2^21", Seen::WithKey),
            attack("scrypt-absurd", scrypt("18446744073709551615"), 7, "2^", Seen::WithKey),
            attack("scrypt-beyond-numbers", scrypt("99999999999999999999999"), 3, "age", Seen::WithKey),
            attack("scrypt-leading-zero", scrypt("018"), 3, "age", Seen::WithKey),
            attack("scrypt-negative", scrypt("-1"), 3, "age", Seen::WithKey),
            attack(
                "scrypt-with-company",
                stanzas(&format!("-> scrypt AAAAAAAAAAAAAAAAAAAAAA 18\n{}\n{TINY}", "A".repeat(43))),
                3,
                "age",
                Seen::WithKey,
            ),
        ],
    );
}

#[test]
fn what_is_in_them() {
    let kit = Kit::new();
    let recipient = kit.identity.to_public();
    let text = &kit.inside.key_text;
    let says = |text: &str| kit.inside.clone().with_key_text(&recipient, text).sealed(&kit.source);
    let identity = text.lines().nth(1).unwrap();
    let signer = |key: &ssh_key::PrivateKey| key.fingerprint(ssh_key::HashAlg::Sha256).to_string();
    let by_colleague = text.replace(&signer(&kit.source), &signer(&kit.colleague));
    let mut foreign_file = kit.inside.clone();
    foreign_file.key_files = kit.other.key_files.clone();
    let foreign_key = text.replace(identity, kit.other.key_text.lines().nth(1).unwrap());
    run(
        &kit,
        vec![
            attack("control", says(text), 0, "", Seen::ByNone),
            attack(
                "key-file-of-another-bundle",
                foreign_file.sealed(&kit.source),
                6,
                "rule B3",
                Seen::WithKey,
            ),
            attack("key-of-another-bundle", says(&foreign_key), 6, "rule T2", Seen::WithKey),
            attack("key-file-names-another-signer", says(&by_colleague), 4, "rule B4", Seen::WithKey),
            attack("key-text-without-last-newline", says(text.trim_end()), 6, "rule K4", Seen::WithKey),
            attack("key-text-with-an-empty-line", says(&format!("{text}\n")), 6, "rule K4", Seen::WithKey),
            attack(
                "key-text-with-two-identities",
                says(&format!("{text}{identity}\n")),
                6,
                "rule K4",
                Seen::WithKey,
            ),
            attack("key-text-crlf", says(&text.replace('\n', "\r\n")), 6, "rule K4", Seen::WithKey),
            attack(
                "key-text-identity-in-lower-case",
                says(&text.replace(identity, &identity.to_lowercase())),
                6,
                "rule K4",
                Seen::WithKey,
            ),
            attack(
                "key-text-version-2",
                says(&text.replace("kbpack 1", "kbpack 2")),
                6,
                "rule K4",
                Seen::WithKey,
            ),
            attack(
                "key-text-id-in-upper-case",
                says(&text.replace(&kit.inside.id, &kit.inside.id.to_uppercase())),
                6,
                "rule K4",
                Seen::WithKey,
            ),
            attack(
                "key-text-signer-cut",
                says(&text.replace(&signer(&kit.source), "SHA256:abc")),
                6,
                "rule K4",
                Seen::WithKey,
            ),
            attack(
                "key-text-identity-is-a-plugin",
                says(&text.replace(identity, "AGE-PLUGIN-EVIL-1QQQQQQQQ")),
                6,
                "rule K4",
                Seen::WithKey,
            ),
            attack("key-text-of-escapes", says("\u{1b}[2J\u{7}\n\u{1b}[31m\n"), 6, "rule K4", Seen::WithKey),
            attack("key-text-empty", says(""), 6, "rule K4", Seen::WithKey),
            attack(
                "key-text-of-5-kb",
                says(&format!("{text}{}", "#".repeat(5000))),
                6,
                "more than 4096 bytes",
                Seen::WithKey,
            ),
            attack(
                "key-text-of-100-kb",
                says(&format!("{text}{}", "#".repeat(100_000))),
                6,
                "more than 4096 bytes",
                Seen::WithKey,
            ),
        ],
    );
}
