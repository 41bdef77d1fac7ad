//! Which paths are meant, in each syntax, and that nothing else changes.

use super::*;
use ::toml as parser;
use std::process::Command;

const HOME: &str = "/home/ada";
const THERE: &str = "/srv/people/bob";

fn homes() -> Vec<String> {
    vec![HOME.to_owned()]
}

fn written(syntax: Syntax, text: &str) -> String {
    let out = rewrite(syntax, text.as_bytes(), &homes(), THERE).unwrap();
    String::from_utf8(out.map_or_else(|| text.as_bytes().to_vec(), |(bytes, _)| bytes)).unwrap()
}

#[test]
fn words_that_are_paths_of_the_home() {
    for (text, want) in [
        ("/home/ada", "@"),
        ("/home/ada/", "@/"),
        ("/home/ada/x y/z", "@/x y/z"),
        ("bash /home/ada/.claude/hooks/x.sh --y", "bash @/.claude/hooks/x.sh --y"),
        ("bash \"/home/ada/a b/x.sh\" '/home/ada'", "bash \"@/a b/x.sh\" '@'"),
        ("HOME=/home/ada; cd /home/ada&& ls", "HOME=@; cd @&& ls"),
        ("x --log=/home/ada/log,/home/ada/log2", "x --log=@/log,@/log2"),
        ("export PATH=$PATH:/home/ada/bin:/bin", "export PATH=$PATH:@/bin:/bin"),
        ("PATH=\"${PATH}:/home/ada/bin\"", "PATH=\"${PATH}:@/bin\""),
        ("PATH=\"$PATH\":/home/ada/bin", "PATH=\"$PATH\":@/bin"),
        ("PATH=/home/ada/a:/home/ada/b:~/c:/home/ada/d", "PATH=@/a:@/b:~/c:@/d"),
        ("PATH=$(prefix)/bin:/home/ada/d", "PATH=$(prefix)/bin:@/d"),
        ("P=:/home/ada/bin", "P=:@/bin"),
        ("$(cat /home/ada/x) `cat /home/ada/x`", "$(cat @/x) `cat @/x`"),
        ("a >/home/ada/x 2>/home/ada/y|(/home/ada/z)", "a >@/x 2>@/y|(@/z)"),
        ("{\"p\":\"/home/ada/x\"}", "{\"p\":\"@/x\"}"),
        ("file:///home/ada/x", "file://@/x"),
        ("# /home/ada/x", "# @/x"),
        // Others.
        ("/home/ada2 /home/adam/x /home/ada-old /home/ada.bak /home/ada_", ""),
        ("/x/home/ada //home/ada x/home/ada ./home/ada ~/home/ada $R/home/ada", ""),
        ("scp old:/home/ada/x ada@old:/home/ada https://h:1/home/ada", ""),
        ("/home/ada/../eve /home/ada/..", ""),
        ("/home/ada\\ lovelace /home/ada*", ""),
        ("/HOME/ADA /home/ad", ""),
    ] {
        let want = if want.is_empty() { text.to_owned() } else { want.replace('@', THERE) };
        assert_eq!(written(Syntax::Shell, text), want);
        // A path is the same in a string.
        let json = serde_json::to_string(&[text]).unwrap();
        assert_eq!(written(Syntax::Json, &json), serde_json::to_string(&[want]).unwrap());
    }
    assert_eq!(written(Syntax::Shell, "/home/ada/..x /home/ada/.x"), format!("{THERE}/..x {THERE}/.x"));
    let nested = ["/home/ada".to_owned(), "/home/ada/real".to_owned()];
    let (out, places) =
        rewrite(Syntax::Shell, b"/home/ada/real/x /home/ada/x", &nested, "/b").unwrap().unwrap();
    assert_eq!((String::from_utf8(out).unwrap().as_str(), places), ("/b/x /b/x", 2));
}

#[test]
fn json_keeps_all_but_the_paths() {
    let text = "{ \"/home/ada/p\" :{\"n\":1.0e+05 , \"e\" : \"\\u002Fhome\\/ada/x\\n/home/ada\\t\",\n\t\"k\":[\"a\\\"/home/ada\\\"b\",true]},\
        \"q\":\"\\\\/home/ada\", \"z\":\"\\ud83d\\ude00 /home/ada/\u{e9}\"}\r\n";
    let want = format!(
        "{{ \"{THERE}/p\" :{{\"n\":1.0e+05 , \"e\" : \"{THERE}/x\\n{THERE}\\t\",\n\t\"k\":[\"a\\\"{THERE}\\\"b\",true]}},\
        \"q\":\"\\\\/home/ada\", \"z\":\"\\ud83d\\ude00 {THERE}/\u{e9}\"}}\r\n"
    );
    assert_eq!(written(Syntax::Json, text), want);
    for bad in ["", "{", "{} x", "// c\n{}", "{\"a\":1,}", "\u{feff}{}", "[\"\\x\"]", "[01]", "[\"a\nb\"]"] {
        let error = rewrite(Syntax::Json, bad.as_bytes(), &homes(), THERE).unwrap_err();
        assert!(matches!(error, Unfit::Malformed("JSON", _)), "{bad}");
    }
    assert!(matches!(places(Syntax::Json, b"[\"\xff\"]", &homes()), Err(Unfit::Malformed(..))));
    let deep = "[".repeat(100_000);
    assert!(places(Syntax::Json, deep.as_bytes(), &homes()).is_err());
    // Two keys that become one; that two are one already is not ours to judge.
    let twice = format!("{{\"{HOME}/p\":1,\"{THERE}/p\":2}}");
    assert_eq!(rewrite(Syntax::Json, twice.as_bytes(), &homes(), THERE), Err(Unfit::Collides));
    let apart = format!("[{{\"{HOME}/p\":1}},{{\"{THERE}/p\":2}}]");
    assert_eq!(written(Syntax::Json, &apart), apart.replace(HOME, THERE));
    let same = format!("{{\"{HOME}/p\":1,\"{HOME}/p\":2}}");
    assert_eq!(written(Syntax::Json, &same), same.replace(HOME, THERE));
}

#[test]
fn toml_keeps_all_but_the_paths() {
    let text = r##"# "/home/ada" stays
a = "/home/ada/x" # '/home/ada'
b = '/home/ada\x'
b2 = '/home/ada/\x'
c = "tab\t/home/ada\u0009/\U0000002Fhome/ada \"/home/ada\" \\/home/ada"
d = """
/home/ada/1 ""/home/ada/2" \
   /home/ada/3"""
e = '''
it's /home/ada/4'''''
f = [ "/home/ada", 1_000, 1979-05-27T07:32:00Z ]

[projects."/home/ada/p"]
trust.'/home/ada/q' = true
g = ""
h = ''
i = "#/home/ada #"
"##;
    let want = r##"# "/home/ada" stays
a = "@/x" # '/home/ada'
b = '/home/ada\x'
b2 = '@/\x'
c = "tab\t@\u0009/\U0000002Fhome/ada \"@\" \\/home/ada"
d = """
@/1 ""@/2" \
   @/3"""
e = '''
it's @/4'''''
f = [ "@", 1_000, 1979-05-27T07:32:00Z ]

[projects."@/p"]
trust.'@/q' = true
g = ""
h = ''
i = "#/home/ada #"
"##;
    assert_eq!(written(Syntax::Toml, text), want.replace('@', THERE));
    for bad in ["a", "a = /home/ada", "a = 1\na = 2", "[a"] {
        let error = places(Syntax::Toml, bad.as_bytes(), &homes()).unwrap_err();
        assert!(
            error.to_string().contains("it is not TOML: ") && error.to_string().contains("in line"),
            "{error}"
        );
    }
    let twice = format!("\"{HOME}\" = 1\n\"{THERE}\" = 2\n");
    assert_eq!(rewrite(Syntax::Toml, twice.as_bytes(), &homes(), THERE), Err(Unfit::Collides));
}

#[test]
fn files_and_bytes_are_counted() {
    let path = BundlePath::new("a.json").unwrap();
    let mut sum = Sum::default();
    assert!((0..MAX_FILES).all(|_| sum.add(&path, 1).is_ok()));
    assert_eq!(sum.add(&path, 1), Err(Unfit::TooMany));
    let mut sum = Sum::default();
    assert!((0..MAX_TOTAL / MAX_BYTES).all(|_| sum.add(&path, MAX_BYTES).is_ok()));
    assert_eq!(sum.add(&path, MAX_BYTES + 1), Err(Unfit::Large(MAX_BYTES)));
    assert_eq!(sum.add(&path, 1), Err(Unfit::TooMany));
}

#[test]
fn limits_and_names() {
    let large = vec![b' '; MAX_TOML as usize + 1];
    assert_eq!(places(Syntax::Toml, &large, &homes()), Err(Unfit::Large(MAX_TOML)));
    assert!(places(Syntax::Shell, b"a\0b", &homes()).is_err());
    let many = "/a ".repeat(1_000_000);
    let long = format!("/{}", "b".repeat(1000));
    assert_eq!(rewrite(Syntax::Shell, many.as_bytes(), &["/a".to_owned()], &long), Err(Unfit::Grows));
    let of = |name: &str| Syntax::of(&BundlePath::new(name).unwrap());
    assert_eq!(of("a/settings.local.json"), Some(Syntax::Json));
    assert_eq!(
        (of("x.toml"), of(".bashrc"), of("a/x.sh")),
        (Some(Syntax::Toml), Some(Syntax::Shell), Some(Syntax::Shell))
    );
    for unknown in ["x.xyz", "json", "x.jsonl", "bashrc", "x.py", "x.JSON", "x"] {
        assert_eq!(of(unknown), None, "{unknown}");
    }
    for good in ["/home/ada", "/root", "/srv/a.b/c_d-e+f@g"] {
        assert!(is_name(good), "{good}");
    }
    let long = format!("/{}", "x".repeat(2000));
    for bad in [
        "", "/", "home", "/home/", "//home", "/a/../b", "/a/.", "/a b", "/a\"", "/a$b", "/a\\b", "/ä",
        "/a\n", "/a:b", &long,
    ] {
        assert!(!is_name(bad), "{bad}");
    }
}

/// Numbers by chance, the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    fn text(&mut self) -> String {
        const PIECES: [&str; 16] = [
            "/home/ada",
            "/home/ada/",
            "/home/adam",
            " ",
            "\"",
            "\\",
            "/",
            ":",
            "=",
            "\n",
            "\u{1f600}",
            "x",
            "$P",
            "'",
            "#",
            "\u{1}",
        ];
        (0..self.below(8)).map(|_| PIECES[self.below(PIECES.len())]).collect()
    }

    fn value(&mut self, depth: usize) -> serde_json::Value {
        match self.below(if depth == 0 { 3 } else { 5 }) {
            0 => self.below(1000).into(),
            1 | 2 => self.text().into(),
            3 => (0..self.below(4)).map(|_| self.value(depth - 1)).collect(),
            _ => (0..self.below(4))
                .map(|_| (self.text(), self.value(depth - 1)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }
}

/// In one line of TOML: its strings in double quotes are JSON's, and single quotes do for what has none and no escapes.
fn toml_of(value: &serde_json::Value) -> String {
    use serde_json::Value;
    let string = |text: &str| match text.chars().any(|c| c == '\'' || c.is_control()) {
        true => serde_json::to_string(text).unwrap(),
        false => format!("'{text}'"),
    };
    match value {
        Value::String(s) => string(s),
        Value::Array(list) => format!("[{}]", list.iter().map(toml_of).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let pairs: Vec<_> = map.iter().map(|(k, v)| format!("{} = {}", string(k), toml_of(v))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

/// The same by what the strings mean, with the rule for words alone.
fn moved(value: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    let text = |text: &str| written(Syntax::Shell, text);
    match value {
        Value::String(s) => text(s).into(),
        Value::Array(list) => list.iter().map(moved).collect(),
        Value::Object(map) => {
            map.iter().map(|(k, v)| (text(k), moved(v))).collect::<serde_json::Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

#[test]
fn everything_outside_of_the_places_is_byte_for_byte_the_same() {
    let mut found = 0;
    for seed in 0..3000 {
        let mut chance = Chance(seed);
        let value = chance.value(4);
        let json = match seed % 2 {
            0 => serde_json::to_string(&value).unwrap(),
            // Other ways to write the same.
            _ => serde_json::to_string_pretty(&value)
                .unwrap()
                .replace('/', ["\\/", "\\u002f"][seed as usize / 2 % 2]),
        };
        let shell = (0..20).map(|_| chance.text()).collect::<String>();
        let toml = format!("# {HOME}\nv = {} # \"{HOME}\"\n", toml_of(&value));
        for (syntax, text) in [(Syntax::Json, &json), (Syntax::Shell, &shell), (Syntax::Toml, &toml)] {
            let places = places(syntax, text.as_bytes(), &homes()).unwrap();
            let Ok(out) = rewrite(syntax, text.as_bytes(), &homes(), THERE) else { continue };
            let Some((out, count)) = out else {
                assert!(places.is_empty());
                continue;
            };
            found += count;
            // Put the old bytes back where the new ones stand.
            let (mut back, mut at, mut shift) = (Vec::new(), 0, 0isize);
            for place in &places {
                let start = place.start.checked_add_signed(shift).unwrap();
                back.extend_from_slice(&out[at..start]);
                assert_eq!(&out[start..start + THERE.len()], THERE.as_bytes());
                back.extend_from_slice(&text.as_bytes()[place.clone()]);
                at = start + THERE.len();
                shift += THERE.len() as isize - place.len() as isize;
            }
            back.extend_from_slice(&out[at..]);
            assert_eq!(back, text.as_bytes(), "seed {seed}");
            if syntax == Syntax::Json {
                let now: serde_json::Value = serde_json::from_slice(&out).unwrap();
                assert_eq!(now, moved(&value), "seed {seed}: {text}");
            }
            if syntax == Syntax::Toml {
                let now: parser::Table = parser::from_str(std::str::from_utf8(&out).unwrap()).unwrap();
                assert_eq!(serde_json::to_value(&now["v"]).unwrap(), moved(&value), "seed {seed}: {text}");
            }
            // Rewriting is done once: nothing is left to be found.
            assert!(super::places(syntax, &out, &homes()).unwrap().is_empty(), "seed {seed}: {text}");
        }
    }
    assert!(found > 1000, "{found}");
}

#[test]
fn pythons_parsers_see_the_same_but_for_the_paths() {
    let json = format!(
        "{{\"a\": [\"{HOME}/x\", 1e3, \"\\ud83d\\ude00\"], \"{HOME}\": {{\"b\": \"run {HOME}/y -v\"}}}}"
    );
    let toml = format!("a = [\"{HOME}/x\", 1e3]\n[p.\"{HOME}\"]\nb = '''run {HOME}/y'''\n");
    let script = "import json, sys, tomllib\n\
        read = {'json': json.loads, 'toml': tomllib.loads}[sys.argv[1]]\n\
        print(json.dumps(read(sys.argv[2])))";
    for (name, syntax, text) in [("json", Syntax::Json, json), ("toml", Syntax::Toml, toml)] {
        let python = |text: &str| {
            let out = Command::new("python3").args(["-c", script, name, text]).output().unwrap();
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            String::from_utf8(out.stdout).unwrap()
        };
        assert_eq!(python(&written(syntax, &text)), python(&text).replace(HOME, THERE));
    }
}
