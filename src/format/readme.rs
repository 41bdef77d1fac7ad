//! The text that every bundle begins with, so that nobody needs kbpack to open one.

/// The content of `README.txt`: the same in every bundle of this version, and nothing about any of them.
///
/// The lines indented by four spaces are commands for bash; the words in capitals that they use are
/// explained at the text's beginning.
pub const README: &str = include_str!("README.txt");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{BundleId, ContainerWriter, MemberName};
    use std::io;
    use std::path::Path;
    use std::process::Command;

    /// Runs `script` in bash and returns what it printed.
    fn bash(dir: &Path, script: &str) -> String {
        let script = format!("set -e -o pipefail\n{script}");
        let out = Command::new("bash").args(["-c", &script]).current_dir(dir).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{script}\n{text}\n{}", String::from_utf8_lossy(&out.stderr));
        text
    }

    /// What only stock tools have made: the key file, a stream padded as rule T4 has it, a manifest, the seal.
    const MAKE: &str = r##"
        age-keygen -o identity 2>/dev/null; age-keygen -o bundle-key 2>/dev/null
        ssh-keygen -q -t ed25519 -N '' -C '' -f signing_key
        echo "ada namespaces=\"kbpack-bundle\" $(cat signing_key.pub)" > signers
        signer=$(ssh-keygen -l -f signing_key.pub | cut -d ' ' -f 2)
        { echo "# kbpack 1 id=$ID signer=$signer"; grep ^AGE bundle-key; } | age -r "$(age-keygen -y identity)" > key
        stream() {
            zstd -q -c > packed
            size=$(stat -c %s packed); zeros=$(( (4096 - (size + 8) % 4096) % 4096 ))
            printf '\x50\x2a\x4d\x18' >> packed
            printf "\\x$(printf %02x $((zeros % 256)))\\x$(printf %02x $((zeros / 256)))\0\0" >> packed
            head -c $zeros /dev/zero >> packed
            age -r "$(age-keygen -y bundle-key)" < packed
        }
        echo 'what the stream holds' | stream > stream
        echo '{"manifest":"here"}' | stream > manifest
        test $(age -d -i bundle-key stream | wc -c) = 4096
    "##;

    #[test]
    fn its_commands_open_a_bundle() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let read = |name: &str| std::fs::read(at(name)).unwrap();
        let id = BundleId::random().unwrap();
        bash(dir.path(), &format!("ID={id}\n{MAKE}"));

        let mut writer = ContainerWriter::new(Vec::new(), id).unwrap();
        writer.add(&MemberName::Key(0), &read("key")).unwrap();
        let (first, second) = (read("stream"), read("manifest"));
        writer.add(&MemberName::Part { stream: 1, part: 1 }, &first).unwrap();
        writer.add(&MemberName::Part { stream: 2, part: 1 }, &second).unwrap();
        let sign = |sums: &[u8]| {
            std::fs::write(at("sums"), sums)?;
            bash(dir.path(), "ssh-keygen -q -Y sign -n kbpack-bundle -f signing_key sums");
            std::fs::read_to_string(at("sums.sig"))
        };
        let bundle = writer.finish::<io::Error>(sign).unwrap();
        std::fs::write(at("bundle"), bundle).unwrap();

        let mut script: String = README
            .lines()
            .filter_map(|line| line.strip_prefix("    "))
            .map(|line| format!("{line}\n"))
            .collect();
        for (word, value) in [
            ("BUNDLE", at("bundle").display().to_string()),
            ("SIGNERS", at("signers").display().to_string()),
            ("PRINCIPAL", "ada".to_owned()),
            ("IDENTITY", at("identity").display().to_string()),
            ("STREAM", "000001".to_owned()),
            ("OUTPUT", at("output").display().to_string()),
        ] {
            assert!(script.contains(word), "{word}");
            script = script.replace(word, &value);
        }
        let work = at("work");
        std::fs::create_dir(&work).unwrap();
        let printed = bash(&work, &script);
        assert!(
            printed.starts_with("Good \"kbpack-bundle\" signature for ada with ED25519 key SHA256:"),
            "{printed}"
        );
        assert!(printed.contains(&format!("\n# kbpack 1 id={id} signer=SHA256:")), "{printed}");
        assert!(printed.contains(&format!("\n{}{{\"manifest\":\"here\"}}\n", id.file())), "{printed}");
        assert_eq!(read("output"), b"what the stream holds\n");

        // The second step notices a file that was added, and one that was changed.
        let check: Vec<&str> = script.lines().skip_while(|l| !l.starts_with("sha256sum")).take(2).collect();
        let verdict = |change: &str| {
            let check = check.join(" && ");
            bash(&work, &format!("cd kbpack-*/; {change}\nif {check}; then echo good; fi")).contains("good\n")
        };
        assert!(verdict(""));
        assert!(!verdict("echo > s/000001/000002"));
        assert!(!verdict("rm s/000001/000002; echo >> s/000001/000001"));
    }

    #[test]
    fn it_is_plain() {
        assert!(README.is_ascii() && README.ends_with('\n') && README.len() < 8192);
        assert!(README.lines().all(|line| line.len() <= 130));
    }
}
