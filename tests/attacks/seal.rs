//! What a seal must be, and what it says (rules S1 to S6, B4).

use crate::forge::{sign, Members};
use crate::kit::{attack, run, Kit, Seen};
use ssh_key::HashAlg;
use std::process::Command;

#[test]
fn seals() {
    let kit = Kit::new();
    let good = Members::read(&kit.bundle);
    let sums = good.sums();
    let with = |seal: &str| good.clone().sealed_with(&sums, seal);
    let signed = |namespace, hash| sign(&kit.source, namespace, hash, sums.as_bytes());
    let right = signed("kbpack-bundle", HashAlg::Sha512);
    let removed = good.clone().with(|list| list.push(("SHA256SUMS".into(), sums.clone().into_bytes())));
    let body: String = right.lines().filter(|line| !line.starts_with('-')).collect();
    let on_one_line = format!("-----BEGIN SSH SIGNATURE-----\n{body}\n-----END SSH SIGNATURE-----\n");
    let of_other = sign(&kit.source, "kbpack-bundle", HashAlg::Sha512, b"other sums");
    let stranger = kit.stranger.public_key().fingerprint(HashAlg::Sha256).to_string();
    run(
        &kit,
        vec![
            attack("control", with(&right), 0, "", Seen::ByNone),
            attack("seal-removed", removed.archive(), 3, "rule C6", Seen::ByAll),
            attack("seal-empty", with(""), 3, "rule C10", Seen::ByAll),
            attack("seal-blank", with("\n"), 4, "sign", Seen::ByAll),
            attack("seal-of-escapes", with("\u{1b}[2J\u{1b}]0;x\u{7}"), 4, "sign", Seen::ByAll),
            attack("seal-over-other-sums", with(&of_other), 4, "signature", Seen::ByAll),
            attack(
                "seal-for-backups",
                with(&signed("kbpack-backup", HashAlg::Sha512)),
                4,
                "backup",
                Seen::ByAll,
            ),
            attack(
                "seal-for-receipts",
                with(&signed("kbpack-receipt", HashAlg::Sha512)),
                4,
                "made for kbpack-receipt, not for kbpack-bundle",
                Seen::ByAll,
            ),
            attack("seal-for-git", with(&signed("git", HashAlg::Sha512)), 4, "another purpose", Seen::ByAll),
            attack(
                "seal-with-sha256",
                with(&signed("kbpack-bundle", HashAlg::Sha256)),
                4,
                "sha",
                Seen::ByAll,
            ),
            attack("seal-by-rsa", with(&rsa(&kit, &sums)), 4, "ed25519", Seen::ByAll),
            attack("seal-crlf", with(&right.replace('\n', "\r\n")), 4, "sign", Seen::ByAll),
            attack("seal-with-a-blank-line", with(&format!("{right}\n")), 4, "sign", Seen::ByAll),
            attack("seal-without-last-newline", with(right.trim_end()), 4, "sign", Seen::ByAll),
            attack("seal-on-one-line", with(&on_one_line), 4, "sign", Seen::ByAll),
            attack("seal-twice", with(&format!("{right}{right}")), 4, "sign", Seen::ByAll),
            attack("seal-by-a-stranger", good.clone().sealed(&kit.stranger), 4, &stranger, Seen::ByAll),
            // Stripped and signed again: from outside it is a bundle of the other one's.
            attack(
                "seal-by-another-trusted-signer",
                good.clone().sealed(&kit.colleague),
                4,
                "rule B4",
                Seen::WithKey,
            ),
        ],
    );
}

#[test]
fn sums() {
    let kit = Kit::new();
    let good = Members::read(&kit.bundle);
    let sums = good.sums();
    let over = |sums: &str| good.clone().sealed_over(sums, &kit.source);
    let lines: Vec<&str> = sums.lines().collect();
    let joined = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let swapped = [&[lines[1], lines[0]], &lines[2..]].concat();
    let zeros = format!("{}{}", "0".repeat(64), &lines[3][64..]);
    let lying = [&lines[..3], &[&zeros[..]], &lines[4..]].concat();
    run(
        &kit,
        vec![
            attack("sums-empty-line", over(&format!("{sums}\n")), 3, "rule S1", Seen::ByAll),
            attack("sums-crlf", over(&sums.replace('\n', "\r\n")), 3, "rule S1", Seen::ByAll),
            attack(
                "sums-upper-case",
                over(&sums.replace(&lines[0][..64], &lines[0][..64].to_uppercase())),
                3,
                "rule S1",
                Seen::ByAll,
            ),
            attack("sums-binary-mark", over(&sums.replacen("  ", " *", 1)), 3, "rule S1", Seen::ByAll),
            attack("sums-dot-slash", over(&sums.replacen("  ", "  ./", 1)), 3, "rule S1", Seen::ByAll),
            attack("sums-without-last-newline", over(sums.trim_end()), 3, "rule S1", Seen::ByAll),
            attack("sums-missing-line", over(&joined(&lines[..lines.len() - 1])), 3, "rule S1", Seen::ByAll),
            attack(
                "sums-repeated-line",
                over(&format!("{sums}{}\n", lines[lines.len() - 1])),
                3,
                "rule S1",
                Seen::ByAll,
            ),
            attack("sums-reordered", over(&joined(&swapped)), 3, "rule S1", Seen::ByAll),
            attack("sums-not-text", over("\u{1b}[2J"), 3, "rule S1", Seen::ByAll),
            attack("sums-that-lie", over(&joined(&lying)), 3, "rule S3", Seen::ByDigests),
        ],
    );
}

/// A signature by an RSA key, made by ssh-keygen.
fn rsa(kit: &Kit, sums: &str) -> String {
    let dir = kit.world.path("rsa");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("sums"), sums).unwrap();
    let keygen = |args: &[&str]| {
        let made = Command::new("ssh-keygen").args(args).current_dir(&dir).output().unwrap();
        assert!(made.status.success(), "{made:?}");
    };
    keygen(&["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", "key"]);
    keygen(&["-q", "-Y", "sign", "-f", "key", "-n", "kbpack-bundle", "sums"]);
    std::fs::read_to_string(dir.join("sums.sig")).unwrap()
}
