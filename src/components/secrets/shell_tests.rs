//! What we read in a shell file is what bash exports after reading it. Bash itself is asked.

use super::buffer::SecretBuf;
use super::model::{Format, VarName};
use super::quote;
use super::shell::{parse, Value};
use super::shell_file::edit;
use super::source::variables;
use crate::component::Host;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

pub(super) fn host(home: &Path) -> Host {
    let home = home.canonicalize().unwrap();
    Host { home, uid: rustix::process::getuid().as_raw(), own: vec![], maps: vec![] }
}

/// What `shell` exports after it read `script`.
pub(super) fn exported(shell: &str, script: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("script");
    std::fs::write(&file, script).unwrap();
    let output = Command::new(shell)
        .args(["-c", ". \"$1\"; exec /usr/bin/env -0", shell])
        .arg(&file)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .current_dir(dir.path())
        .stderr(Stdio::null())
        .output()
        .unwrap();
    assert!(!dir.path().join("pwned").exists(), "something was executed");
    let lines = output.stdout.split(|&c| c == 0).filter(|l| !l.is_empty());
    lines
        .map(|line| {
            let at = line.iter().position(|&c| c == b'=').unwrap();
            (String::from_utf8_lossy(&line[..at]).into_owned(), line[at + 1..].to_vec())
        })
        .collect()
}

/// What we read: the value, or why there is none.
fn read(script: &[u8], name: &str) -> Result<Vec<u8>, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("script");
    std::fs::write(&file, script).unwrap();
    let all = variables(&host(dir.path()), &file, Format::Shell).map_err(|e| e.to_string())?;
    let last = all.into_iter().rfind(|v| v.name == name).ok_or("not set")?;
    last.fixed().map(|v| v.expose().to_vec()).map_err(|e| e.to_string())
}

/// xorshift64*: enough to vary tests, the same in every run.
struct Random(u64);
impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }

    fn value(&mut self) -> Vec<u8> {
        const NASTY: [&[u8]; 22] = [
            b"'",
            b"\"",
            b"\\",
            b"$(touch pwned)",
            b"`touch pwned`",
            b"${HOME}",
            b"$HOME",
            b"\n",
            b"!",
            b"-n",
            b"#",
            b" # ",
            b"~",
            b"*",
            b"{a,b}",
            b";touch pwned;",
            b"\t",
            "é€".as_bytes(),
            b"\\n",
            b"$'x'",
            b"\xff\xfe",
            b"\r",
        ];
        let mut value = Vec::new();
        for _ in 0..self.below(12) {
            match self.below(3) {
                0 => value.extend(NASTY[self.below(NASTY.len())]),
                1 => value.push(1 + self.below(255) as u8),
                _ => value.extend(b"abc XYZ"[self.below(4)..].iter()),
            }
        }
        value
    }

    /// `value` by hand: pieces in any quoting that bash knows.
    fn quoted(&mut self, value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = value;
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(1 + self.below(rest.len()));
            rest = tail;
            match self.below(4) {
                0 => {
                    let mut buf = SecretBuf::default();
                    quote::shell(piece, &mut buf);
                    out.extend(buf.bytes());
                }
                1 => {
                    out.push(b'"');
                    for &c in piece {
                        if b"\"\\$`".contains(&c) {
                            out.push(b'\\');
                        }
                        out.push(c);
                    }
                    out.push(b'"');
                }
                2 => {
                    out.extend(b"$'");
                    piece.iter().for_each(|c| out.extend(format!("\\x{c:02x}").bytes()));
                    out.push(b'\'');
                }
                _ => piece.iter().for_each(|&c| match c {
                    b'\n' => out.extend(b"'\n'"),
                    c if c.is_ascii_alphanumeric() => out.push(c),
                    c => out.extend([b'\\', c]),
                }),
            }
            if self.below(4) == 0 {
                out.extend(b"\\\n");
            }
        }
        out
    }
}

fn bash(script: &str, args: &[Vec<u8>], env: &[(String, Vec<u8>)]) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    let os = |v: &Vec<u8>| std::ffi::OsStr::from_bytes(v).to_owned();
    let output = Command::new("bash")
        .args(["-c", script, "bash"])
        .args(args.iter().map(os))
        .env_clear()
        .env("LC_ALL", "C.UTF-8")
        .envs(env.iter().map(|(k, v)| (k, os(v))))
        .output()
        .unwrap();
    assert!(output.status.success());
    output.stdout
}

#[test]
fn random_values_in_every_quoting() {
    let mut random = Random(42);
    for _ in 0..8 {
        let values: Vec<Vec<u8>> = (0..60).map(|_| random.value()).collect();
        let mut script = Vec::new();
        for (n, value) in values.iter().enumerate() {
            let ways = [&b"export "[..], b"declare -x ", b"typeset -x ", b"set -a; "];
            script.extend(ways[random.below(4)]);
            script.extend(format!("A{n}=").bytes());
            script.extend(random.quoted(value));
            script.extend([&b"\n"[..], b" # comment ' \"\n", b"; true\n", b" && "][random.below(4)]);
        }
        script.extend(b"true\n");
        let names: Vec<String> = (0..values.len()).map(|n| format!("B{n}")).collect();
        for (name, quoted) in
            names.iter().zip(bash("printf '%q\\n' \"$@\"", &values, &[]).split(|&c| c == b'\n'))
        {
            script.extend(format!("export {name}=").bytes());
            script.extend(quoted);
            script.push(b'\n');
        }
        let env: Vec<_> = values.iter().enumerate().map(|(n, v)| (format!("C{n}"), v.clone())).collect();
        script.extend(bash("declare -p ${!C*}", &[], &env));

        let truth = exported("bash", &script);
        let parsed = parse(&script).unwrap();
        for (n, value) in values.iter().enumerate() {
            for set in ["A", "B", "C"] {
                let name = format!("{set}{n}");
                assert_eq!(truth.get(&name), Some(value), "bash, {name}");
                let last = parsed.assignments.iter().rfind(|a| a.name == name).unwrap();
                match &last.value {
                    Value::Static(read) => {
                        assert_eq!(read.expose(), value, "{name} = {}", value.escape_ascii())
                    }
                    Value::Dynamic(why) => panic!("{name} = {}: {why}", value.escape_ascii()),
                }
            }
        }
    }
}

#[test]
fn written_values_read_the_same_in_bash_and_dash() {
    let mut random = Random(7);
    let mut values: Vec<Vec<u8>> = (0..300).map(|_| random.value()).collect();
    values.push((1..=255).collect());
    values.push(vec![b'\''; 1000]);
    values.push(b"x\n\n".to_vec());
    values.push(vec![b'\\'; 100_000]);
    let mut script = SecretBuf::default();
    for (n, value) in values.iter().enumerate() {
        script.extend(format!("export A{n}=").as_bytes());
        quote::shell(value, &mut script);
        script.push(b'\n');
    }
    for shell in ["bash", "dash"] {
        let truth = exported(shell, script.bytes());
        for (n, value) in values.iter().enumerate() {
            assert_eq!(truth.get(&format!("A{n}")), Some(value), "{shell}");
        }
    }
}

/// Everything around an assignment that bash has: what counts is the same for both.
#[test]
fn scripts_are_read_as_bash_reads_them() {
    for script in [
        "export K=1\nK=2\n",
        "export K=1; export K=2",
        "export J=1 K='a b' L=3",
        "export K=1 && export K=2 && true",
        "# export K=0\nexport K=\"a # b\" # export K=3\n",
        "export K=a#b",
        "export K=",
        "export K=a=b==c",
        "export K=a\\\nb\\ c",
        "export K='multi\nline' && :",
        "cat <<EOF >/dev/null\nexport K=no\nEOF\nexport K=yes\n",
        "cat <<-'E F' >/dev/null\n\texport K=no '\n\tE F\nexport K=yes\n",
        "export K=before\nf() { export K=inside; }\nexport K=after\n",
        "function f { K=1; }; export K=2",
        "if false; then export K=no; elif true; then :; else :; fi\nexport K=yes",
        "case x in a|b) export K=1;; (c) ;; *) : ;; esac; export K=2",
        "case $- in\n    *i*) ;;\n      *) ;;\nesac\nexport K=1",
        "for f in a b; do export K=$f; done; export K=end",
        "for ((i=0; i<3; i++)); do K=$i; done; export K=end",
        "while false; do K=1; done; until true; do K=2; done; export K=3",
        "(export K=sub); export K=top; ( K=sub2 )",
        "export K=top; (export K=sub)",
        "export K=1; X=$(K=2; echo \"a)\"; case a in a) echo b;; esac)",
        "export K=1; X=`K=2`; Y=\"$(echo \"$(echo ')')\")\"",
        "export K=1; K=2 true",
        "export K=1; K=2 J=3 env >/dev/null",
        "[ -n \"$X\" ] && export K=no; export K=yes",
        "[[ a =~ ^(a|b)$ && x < y ]] || true; export K=1",
        "(( 1 < 2 )); export K=$'a\\tb\\x41\\101\\u00e9\\'\\\"\\e'",
        "A=(1 '2 )' $(echo 3) # c )\n4); export K=1",
        "export K=$; export L=\"a$ b$\"",
        "export K=a\"b\"'c'$'d'\\e",
        "export K=2>/dev/null; export K=a2>/dev/null",
        "export K=1 >/dev/null 2>&1 </dev/null",
        "export K=\"a\\xb\\\"\\\\\\$\\`c\"",
        "export K=a,b:c%d@e+f/g",
        "diff <(echo 1) <(echo 2) >/dev/null; export K=1",
        "x=${y:-'}'}; z=\"${y:-\"}\"}\"; export K=1",
        "cat <<A <<B >/dev/null\na\nA\nexport K=0\nB\nexport K=1",
        "cat <<< \"K=0\" >/dev/null; export K=1",
        "! false; time true; export K=1",
        "export K=1; return 0; export K=2",
        "export 'K'=1; export K=2",
        "readonly K=5; export K",
        "declare -rx K=5",
        "shopt -s extglob\nls !(a|b) >/dev/null; export K=1\n",
        "alias k='K=3'; export K=1",
        "{ true; } ; export K=1",
        "export K=crlf\r\n",
        "select_=1; done_=2; export K=3",
        "if true; then\n  echo } fi done > /dev/null\nfi\nexport K=1",
        "echo \\; export K=no >/dev/null; export K=yes",
        "export K=1 # trailing \\\nexport K=2",
        "export K='a'\\''b'",
        "{ while false; do :; done }; export K=1",
        "K=1 export J; export K=2",
        "`true`K=1; export K=2",
    ] {
        let truth = exported("bash", script.as_bytes());
        let read = read(script.as_bytes(), "K");
        assert_eq!(read.as_ref().ok(), truth.get("K"), "{script}\n{read:?}");
    }
}

#[test]
fn values_that_only_a_shell_knows_are_refused() {
    for script in [
        "export K=$(cat f)",
        "export K=`cat f`",
        "export K=\"$HOME/x\"",
        "export K=${X}",
        "export K=$1",
        "export K=$((1+1))",
        "export K=~/x",
        "export K=a:~/b",
        "export K=*",
        "export K=a?",
        "export K={a,b}",
        "export K=$\"x\"",
        "K=(a b)",
        "K[0]=a",
        "K+=a",
        "export K=<(true)",
        "declare -i K=1",
        "declare -u K=a",
        "export -n K=1",
        "if true; then export K=1; fi",
        "f() { export K=1; }",
        "true && export K=1",
        "false || export K=1",
        "export K=1; unset K",
        "export K=1; read -r K",
        "printf -v K x",
        "for K in a; do :; done",
        "export K=1 | cat",
        "K=1 &",
        "export K=1; while true; do K=2; done",
        "{ export K=1; }",
        "K=$'\\0'",
        "K=$'\\cA'",
        "X=$(false) && K=1",
        "export K=1; case a in a) K=2;; esac",
    ] {
        let error = read(script.as_bytes(), "K").unwrap_err();
        assert!(error.contains("$K in ~/script, line 1 has no fixed value"), "{script}: {error}");
    }
    for script in
        ["export K='a", "export K=\"a", "if true; then export K=1", "fi; K=1", "K=$(", "K=1)", "case a in a"]
    {
        let error = read(script.as_bytes(), "K").unwrap_err();
        assert!(error.contains("cannot be read"), "{script}: {error}");
    }
    for script in ["", "K", "export K", "echo K=1", "X=1 K=2 true", "'K=1'", "K =1", "export \\K", "# K=1"] {
        assert_eq!(read(script.as_bytes(), "K").unwrap_err(), "not set", "{script}");
    }
}

#[test]
fn any_bytes_are_read_or_refused() {
    let mut random = Random(99);
    let parts: [&[u8]; 30] = [
        b"if ", b"then ", b"fi", b";", b"\n", b"'", b"\"", b"$(", b")", b"${", b"}", b"`", b"case ", b" in ",
        b"esac", b";;", b"K=1", b"export ", b"<<E", b"\nE\n", b"f()", b"{ ", b"(", b"((", b"[[ ", b"#",
        b"\\", b"&&", b"|", b"for ",
    ];
    for _ in 0..20_000 {
        let script: Vec<u8> =
            (0..random.below(14)).flat_map(|_| parts[random.below(parts.len())].iter().copied()).collect();
        let _ = parse(&script);
        let name = VarName::try_from("K".to_owned()).unwrap();
        let _ = edit(&script, "keys", "'x'", &[&name]);
        let _ = super::dotenv::parse(&script);
    }
    for deep in ["$(", "\"$(", "f()", "(", "{ ", "${x:-", "if ", "a=("] {
        assert!(parse(deep.repeat(100_000).as_bytes()).is_err());
    }
}

/// Random scripts: where we read a value, bash has exactly that one, whatever stands around it.
#[test]
fn a_value_that_is_read_is_the_one_that_bash_has() {
    const PARTS: [&str; 43] = [
        "K=1\n",
        "export K=2",
        "K='a b'",
        "K=\"x\\\"y\"",
        "K=$'\\t'",
        "export J=1 K=3",
        "K=4 true",
        "unset K\n",
        "; ",
        "\n",
        " && ",
        " || ",
        " | ",
        " # c\n",
        "true",
        "false",
        "if true; then ",
        "\nelse ",
        "\nfi\n",
        "f() { ",
        "\n}\n",
        "f\n",
        "( ",
        " )",
        "$(",
        "\"$(",
        ")\"",
        "`",
        "case a in a) ",
        " ;;\nesac\n",
        "for i in 1 2; do ",
        "\ndone\n",
        "cat <<E >&2\n",
        "\nE\n",
        "\"",
        "'",
        "\\",
        "\\\n",
        "{ ",
        "\n[[ a == a ]]\n",
        "X=",
        "export K\n",
        "declare -x K=5\n",
    ];
    let rounds = std::env::var("KBPACK_TEST_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(600);
    let mut random = Random(rounds as u64);
    let mut compared = 0;
    for _ in 0..rounds {
        let script: String = (0..2 + random.below(9)).map(|_| PARTS[random.below(PARTS.len())]).collect();
        let Ok(value) = read(script.as_bytes(), "K") else { continue };
        let parses = Command::new("bash").args(["-n", "-c", &script]).stderr(Stdio::null()).status().unwrap();
        if parses.success() {
            compared += 1;
            let truth = exported("bash", format!("set -a\n{script}").as_bytes());
            assert_eq!(truth.get("K"), Some(&value), "{script}");
        }
    }
    assert!(compared > rounds / 60, "{compared}");
}

fn edited(src: &str) -> Result<String, String> {
    let name = VarName::try_from("K".to_owned()).unwrap();
    match edit(src.as_bytes(), "keys", "\"$HOME/env.sh\"", &[&name]) {
        Ok(edited) => Ok(String::from_utf8(edited.bytes.expose().to_vec()).unwrap()),
        Err((line, why)) => Err(format!("{line}: {why}")),
    }
}

const BLOCK: &str = "# >>> kbpack keys >>>\n\
    # Loads the secrets that kbpack brought here. An import writes this block anew.\n\
    if [ -r \"$HOME/env.sh\" ]; then . \"$HOME/env.sh\"; fi\n\
    # <<< kbpack keys <<<\n";

#[test]
fn the_block_has_its_place() {
    let ubuntu = "# ~/.bashrc\n\n# If not running interactively, don't do anything\ncase $- in\n    *i*) ;;\n      *) return;;\nesac\nX=1\n";
    let at = ubuntu.find("# If not").unwrap();
    assert_eq!(edited(ubuntu).unwrap(), format!("{}{BLOCK}{}", &ubuntu[..at], &ubuntu[at..]));
    for line in [
        "[ -z \"$PS1\" ] && return\n",
        "[[ $- != *i* ]] && return\n",
        "if [ -z \"$PS1\" ]; then\n  return\nfi\n",
    ] {
        assert_eq!(edited(&format!("A=1\n{line}B=2")).unwrap(), format!("A=1\n{BLOCK}{line}B=2"));
    }
    assert_eq!(edited("").unwrap(), BLOCK);
    assert_eq!(edited("f() { return; }\n").unwrap(), format!("{BLOCK}f() {{ return; }}\n"));
    assert_eq!(edited("#!/bin/sh").unwrap(), format!("#!/bin/sh\n{BLOCK}"));
    // Again: nothing changes, and an older block is replaced where it stands.
    let twice = format!("A=1\n{BLOCK}B=2\n");
    assert_eq!(edited(&twice).unwrap(), twice);
    assert_eq!(edited(&twice.replace("Loads", "Loaded")).unwrap(), twice);
    let other = BLOCK.replace("kbpack keys", "kbpack more");
    assert_eq!(edited(&other).unwrap(), format!("{BLOCK}{other}"));
    for bad in ["# >>> kbpack keys >>>\n", "# <<< kbpack keys <<<\n", &format!("{BLOCK}{BLOCK}")] {
        assert!(edited(bad).unwrap_err().contains("block"), "{bad}");
    }
}

#[test]
fn assignments_step_aside() {
    for (before, after) in [
        ("export K=1\n", "# kbpack: export K=1\n"),
        ("A=1\n  K='a\nb' # c\nB=2", "A=1\n# kbpack:   K='a\n# kbpack: b' # c\nB=2"),
        ("K=$(date); K=2\n", "# kbpack: K=$(date); K=2\n"),
        ("# K=1\nexport K=a\\\nb\n", "# K=1\n# kbpack: export K=a\\\n# kbpack: b\n"),
    ] {
        assert_eq!(edited(before).unwrap(), format!("{BLOCK}{after}"));
        assert_eq!(edited(&edited(before).unwrap()).unwrap(), format!("{BLOCK}{after}"));
    }
    for (src, line) in [
        ("A=1\nexport K=1 J=2\n", 2),
        ("export K=1; echo\n", 1),
        ("if true; then\nexport K=1\nfi\n", 2),
        ("true &&\nK=1\n", 2),
        ("K=1 <<E\nE\n", 1),
        ("echo 'a\nb'; K=1\n", 2),
        ("f() {\nK=1\n}\n", 2),
        ("unset K\n", 1),
        ("A=1; fi", 1),
    ] {
        assert!(edited(src).unwrap_err().starts_with(&format!("{line}: ")), "{src}: {:?}", edited(src));
    }
    // What stands before the block cannot outlive it.
    let early = "if true; then\nK=1\nfi\n[ -z \"$PS1\" ] && return\n";
    assert!(edited(early).unwrap().contains(&format!("fi\n{BLOCK}[")));
}

#[test]
fn systemd_form() {
    let mut out = SecretBuf::default();
    quote::systemd(b"a\"b\\c$d`e\nf", &mut out);
    assert_eq!(out.bytes(), b"\"a\\\"b\\\\c\\$d\\`e\nf\"");
    assert!(quote::systemd_refuses(b"\xff").is_some() && quote::systemd_refuses(b"a\x1b").is_some());
    assert!(quote::systemd_refuses("é\t\n".as_bytes()).is_none());
}
