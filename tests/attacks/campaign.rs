//! Random mutations at random layers, each sealed again by the signer where a seal is above it. Whatever comes:
//! no panic and no unexpected error; a target that changes only with exit 0; and exit 0 only with the right content.
//!
//! Some seconds long in the suite; `KBPACK_CAMPAIGN=600` makes it ten minutes, `KBPACK_CAMPAIGN_SEED` another one.

use crate::kit::{Kit, Random, Trial};
use crate::support::{snapshot, Home};
use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The depth at which a mutation strikes.
#[derive(Debug, Clone, Copy)]
enum Layer {
    Archive,
    Member,
    Sums,
    KeyText,
    Stored,
    Frame,
    Plain,
    Manifest,
}

const LAYERS: [Layer; 8] = [
    Layer::Archive,
    Layer::Member,
    Layer::Sums,
    Layer::KeyText,
    Layer::Stored,
    Layer::Frame,
    Layer::Plain,
    Layer::Manifest,
];

#[test]
fn campaign() {
    let number =
        |name: &str, default: u64| std::env::var(name).ok().map_or(default, |text| text.parse().unwrap());
    let end = Instant::now() + Duration::from_secs(number("KBPACK_CAMPAIGN", 6));
    let seed = number("KBPACK_CAMPAIGN_SEED", 20_260_101);
    let kit = Kit::new();
    let file = kit.world.path("mutant.kbp");
    let attempt = |bundle: &[u8]| {
        std::fs::write(&file, bundle).unwrap();
        Trial::of(&kit, &file, &["import", "--yes"], |_| {})
    };
    let good = attempt(&kit.bundle);
    assert_eq!(good.run.code, 0, "{}", good.run.stderr);
    let right = content(&kit.world.target);
    let mut n = 0;
    while Instant::now() < end {
        n += 1;
        let mut random = Random(seed.wrapping_mul(1_000_003) + n);
        let layer = LAYERS[random.below(LAYERS.len())];
        let (bundle, exact) = mutant(&kit, layer, &mut random);
        let trial = attempt(&bundle);
        let verdict = trial.manners().and_then(|()| match trial.run.code {
            0 if exact && content(&kit.world.target) != right => {
                Err("accepted, but it is not what was packed".to_owned())
            }
            0 => Ok(()),
            _ => trial.unchanged(),
        });
        if let Err(complaint) = verdict {
            let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("mutant-{seed}-{n}.kbp"));
            std::fs::write(&kept, &bundle).unwrap();
            panic!("seed {seed}, mutant {n} at {layer:?}: {complaint}\n{}", trial.run.stderr);
        }
    }
}

/// What an import brought: paths, modes and contents, without the times of files that were edited.
fn content(home: &Home) -> Vec<String> {
    let rows = ["app", ".bashrc", ".config"]
        .map(|name| snapshot(&home.join(name)).into_iter().map(move |row| (name, row)));
    let without_time = |(name, row): (&str, String)| {
        let words: Vec<&str> = row.split(' ').collect();
        format!("{name} {} {}", words[..words.len() - 2].join(" "), words[words.len() - 1])
    };
    rows.into_iter().flatten().map(without_time).collect()
}

/// A bundle with a mutation, and whether it must give the right content if it is accepted: not where the mutation
/// is in what the signer says.
fn mutant(kit: &Kit, layer: Layer, random: &mut Random) -> (Vec<u8>, bool) {
    let inside = kit.inside.clone();
    let n = random.below(inside.streams.len());
    let (component, name) = (inside.streams[n].component.clone(), inside.streams[n].name.clone());
    match layer {
        Layer::Archive => (mutated(&kit.bundle, random), true),
        Layer::Member => {
            let mut members = inside.members();
            let at = random.below(members.list.len());
            members.list[at].1 = mutated(&members.list[at].1, random);
            (members.sealed(&kit.source), true)
        }
        Layer::Sums => {
            let members = inside.members();
            let sums = mutated(members.sums().as_bytes(), random);
            (members.sealed_over(&String::from_utf8_lossy(&sums), &kit.source), true)
        }
        Layer::KeyText => {
            let text = mutated(inside.key_text.as_bytes(), random);
            let recipient = kit.identity.to_public();
            (inside.with_key_text(&recipient, &String::from_utf8_lossy(&text)).sealed(&kit.source), true)
        }
        Layer::Stored => {
            let stored = mutated(&inside.streams[n].stored, random);
            (inside.with_stored(&component, &name, stored).sealed(&kit.source), true)
        }
        Layer::Frame => {
            let frame = mutated(&crate::forge::frame(&inside.streams[n].plain), random);
            (inside.with_frame(&component, &name, frame).sealed(&kit.source), true)
        }
        Layer::Plain => {
            let plain = mutated(&inside.streams[n].plain, random);
            // Another value of a secret is a secret's value.
            let exact = name != "values";
            (inside.with_plain(&component, &name, plain).sealed(&kit.source), exact)
        }
        Layer::Manifest => {
            let mut text = mutated(inside.manifest_text().as_bytes(), random);
            while names_the_machine(&text) {
                text = mutated(inside.manifest_text().as_bytes(), random);
            }
            (inside.members_saying(&text).sealed(&kit.source), false)
        }
    }
}

/// Whether a manifest has an absolute path in it: a signer may say so, but this is not his machine.
fn names_the_machine(text: &[u8]) -> bool {
    fn absolute(value: &Value) -> bool {
        match value {
            Value::String(text) => text.starts_with('/'),
            Value::Array(list) => list.iter().any(absolute),
            Value::Object(fields) => fields.values().any(absolute),
            _ => false,
        }
    }
    serde_json::from_slice(text).is_ok_and(|value| absolute(&value))
}

/// The bytes after one to three random changes.
fn mutated(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(3) {
        let len = bytes.len();
        if len == 0 {
            return vec![random.below(256) as u8];
        }
        let at = random.below(len);
        let to = at + random.below((len - at).min(600) + 1);
        match random.below(8) {
            0..=2 => bytes[at] ^= 1 << random.below(8),
            3 => bytes[at] = random.below(256) as u8,
            4 => drop(bytes.drain(at..to)),
            5 => {
                let copy = bytes[at..to].to_vec();
                bytes.splice(at..at, copy);
            }
            6 => bytes.truncate(at),
            _ => {
                let other = random.below(len);
                let copy = bytes[at..to].to_vec();
                bytes.splice(other..other, copy);
            }
        }
    }
    bytes
}
