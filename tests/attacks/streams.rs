//! Streams that are not one age file of one zstd frame and its padding (chapter T), sealed by a trusted signer.

use crate::forge::{age_header, encrypt, frame, skippable, with_stanzas, zstd_frame};
use crate::kit::{attack, run, Kit, Seen};
use age::x25519::Identity;
use serde_json::json;
use zstd::stream::raw::CParameter;

/// Chunks of age's payload: plaintext and tag.
const AGE_CHUNK: usize = 64 * 1024 + 16;

/// The stream that is attacked: large enough for several chunks.
const SHARD: (&str, &str) = ("app", "tree/000001");

#[test]
fn age_files() {
    let kit = Kit::new();
    let stream = kit.inside.stream(SHARD.0, SHARD.1);
    let stored = &stream.stored;
    let header = age_header(stored);
    assert!(stored.len() > header + 16 + AGE_CHUNK, "the stream has several chunks");
    let with = |stored: Vec<u8>| kit.inside.clone().with_stored(SHARD.0, SHARD.1, stored).sealed(&kit.source);
    let a = |name: &str, stored: Vec<u8>| attack(name, with(stored), 6, "rule T2", Seen::InStreams);
    let stanzas =
        |name: &str, text: &str| attack(name, with(with_stanzas(stored, text)), 7, "header", Seen::InStreams);
    let last_chunk = (stored.len() - header - 16) % AGE_CHUNK;
    let flipped = |at: usize| {
        let mut stored = stored.clone();
        stored[at] ^= 1;
        stored
    };
    let framed = frame(&stream.plain);
    let to_others = encrypt(&Identity::generate().to_public(), &framed);
    let foreign = kit.other.stream(SHARD.0, SHARD.1).stored.clone();
    let scrypt = format!("-> scrypt AAAAAAAAAAAAAAAAAAAAAA 30\n{}\n", "A".repeat(43));
    let tiny = "-> a\n\n";
    let full = format!("{}\n", "A".repeat(64));
    run(
        &kit,
        vec![
            attack("control", with(encrypt(&kit.inside.key.to_public(), &framed)), 0, "", Seen::ByNone),
            a("last-chunk-dropped", stored[..stored.len() - last_chunk].to_vec()),
            a("all-chunks-dropped", stored[..header + 16].to_vec()),
            a("cut-in-a-chunk", stored[..stored.len() - 1].to_vec()),
            a("cut-in-the-header", stored[..header / 2].to_vec()),
            a("chunks-swapped", {
                let payload = &stored[header + 16..];
                [
                    &stored[..header + 16],
                    &payload[AGE_CHUNK..2 * AGE_CHUNK],
                    &payload[..AGE_CHUNK],
                    &payload[2 * AGE_CHUNK..],
                ]
                .concat()
            }),
            a("payload-flipped", flipped(header + 1000)),
            a("last-tag-flipped", flipped(stored.len() - 1)),
            a("mac-flipped", flipped(header - 10)),
            a("data-behind-the-age-file", [&stored[..], b"x"].concat()),
            a("two-age-files", [&stored[..], stored].concat()),
            a("encrypted-to-others", to_others),
            a("of-another-bundle-of-the-same-people", foreign),
            a("not-age", b"hello\n".to_vec()),
            a("not-encrypted", framed.clone()),
            stanzas("stanzas-50000", &tiny.repeat(50_000)),
            stanzas("stanzas-8000-in-48-kb", &tiny.repeat(8_000)),
            stanzas("stanza-of-65-kb", &format!("-> a\n{}\n", full.repeat(1024))),
            stanzas("stanza-with-a-line-of-65-kb", &format!("-> a {}\n\n", "b".repeat(65_000))),
            attack("scrypt-2-30", with(with_stanzas(stored, &scrypt)), 7, "2^30", Seen::InStreams),
        ],
    );
}

#[test]
fn frames() {
    let kit = Kit::new();
    let plain = &kit.inside.stream(SHARD.0, SHARD.1).plain;
    let with = |frame: Vec<u8>| kit.inside.clone().with_frame(SHARD.0, SHARD.1, frame).sealed(&kit.source);
    let a = |name: &str, rule: &str, frame: Vec<u8>| attack(name, with(frame), 6, rule, Seen::InStreams);
    let good = zstd_frame(plain, &[]);
    let then = |more: &[u8]| [&good[..], more].concat();
    let with_window = |log: u8| {
        let mut frame = good.clone();
        assert_eq!(frame[4] & 0b0010_0000, 0, "the frame has a window descriptor");
        frame[5] = (log - 10) << 3;
        frame
    };
    let with_dictionary = {
        let mut frame = good.clone();
        frame[4] |= 1;
        frame.insert(6, 7);
        frame
    };
    let legacy = [&[0x27, 0xB5, 0x2F, 0xFD], &good[4..]].concat();
    let mut not_zero = skippable(0x50, &[0; 100]);
    not_zero[50] = 1;
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let mut wrong_checksum = good.clone();
    *wrong_checksum.last_mut().unwrap() ^= 1;
    run(
        &kit,
        vec![
            attack("control-without-padding", with(good.clone()), 0, "", Seen::ByNone),
            attack("control-window-2-23", with(with_window(23)), 0, "", Seen::ByNone),
            a("byte-behind-the-frame", "rule T4", then(b"x")),
            a("zeros-behind-the-frame", "rule T4", then(&[0; 100])),
            a("two-frames", "rule T4", then(&good)),
            a("second-frame-empty", "rule T4", then(&zstd_frame(b"", &[]))),
            a(
                "frame-behind-the-padding",
                "rule T4",
                then(&[skippable(0x50, &[0; 100]), good.clone()].concat()),
            ),
            a("padding-not-zeros", "rule T4", then(&not_zero)),
            a("padding-of-another-magic", "rule T4", then(&skippable(0x51, &[0; 100]))),
            a(
                "padding-twice",
                "rule T4",
                then(&[skippable(0x50, &[0; 9]), skippable(0x50, &[0; 9])].concat()),
            ),
            a("padding-of-4096", "rule T4", then(&skippable(0x50, &[0; 4096]))),
            a("padding-of-a-mebibyte", "rule T4", then(&skippable(0x50, &vec![0; 1 << 20]))),
            a("padding-cut", "rule T4", then(&skippable(0x50, &[0; 100])[..60])),
            a(
                "padding-length-lies",
                "rule T4",
                then(&[0x50, 0x2A, 0x4D, 0x18, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0]),
            ),
            a("skippable-frame-first", "rule T3", [skippable(0x50, &[0; 8]), good.clone()].concat()),
            a("legacy-frame", "rule T3", legacy),
            a("dictionary-id", "rule T3", with_dictionary),
            a("no-checksum", "rule T3", zstd_frame(plain, &[CParameter::ChecksumFlag(false)])),
            a("wrong-checksum", "rule T3", wrong_checksum),
            a("frame-cut", "rule T3", good[..good.len() - 5].to_vec()),
            a("frame-flipped", "rule", flipped),
            a("frame-of-four-bytes", "rule T3", good[..4].to_vec()),
            a("frame-missing", "rule T3", vec![]),
            a("not-compressed", "rule T3", plain.clone()),
            attack("window-2-24", with(with_window(24)), 7, "rule T3", Seen::InStreams),
            attack("window-2-31", with(with_window(31)), 7, "rule T3", Seen::InStreams),
            attack("window-2-41", with(with_window(41)), 7, "rule T3", Seen::InStreams),
        ],
    );
}

#[test]
fn bombs_and_strangers() {
    let kit = Kit::new();
    let zeros = vec![0; 1 << 20];
    let bomb = |mebibytes: usize| {
        use std::io::Write;
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.set_parameter(CParameter::ChecksumFlag(true)).unwrap();
        (0..mebibytes).for_each(|_| encoder.write_all(&zeros).unwrap());
        encoder.finish().unwrap()
    };
    let key = kit.inside.key.to_public();
    let with = |frame: Vec<u8>| kit.inside.clone().with_frame(SHARD.0, SHARD.1, frame);
    // An import stops even before: zeros are no shard.
    let absurd = with(bomb(2048));
    let mut honest_but_huge = absurd.clone();
    honest_but_huge.entry(SHARD.0, SHARD.1)["size"] = json!(1u64 << 31);
    // One frame of nine mebibytes in a single segment: its window is its size.
    let single = {
        let plain = vec![7; 9 << 20];
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        encoder.set_parameter(CParameter::ChecksumFlag(true)).unwrap();
        encoder.set_parameter(CParameter::WindowLog(24)).unwrap();
        encoder.set_pledged_src_size(Some(plain.len() as u64)).unwrap();
        std::io::Write::write_all(&mut encoder, &plain).unwrap();
        let frame = encoder.finish().unwrap();
        assert_ne!(frame[4] & 0b0010_0000, 0, "the frame is a single segment");
        frame
    };
    // Streams of one component change places; the manifest still says what each should be.
    let swapped = {
        let mut inside = kit.inside.clone();
        let (a, b) = (inside.number("app", "index") - 1, inside.number(SHARD.0, SHARD.1) - 1);
        inside.streams.swap(a, b);
        for (name, n) in [("index", a), (SHARD.1, b)] {
            let len = inside.streams[n].stored.len();
            inside.entry("app", name)["stored_size"] = json!(len);
        }
        inside
    };
    let manifest = |text: &[u8], frame: fn(&[u8]) -> Vec<u8>| encrypt(&key, &frame(text));
    let text = kit.inside.manifest_text();
    let spaced = format!("{text}{}", " ".repeat(65 << 20));
    let storing = |stored: &[u8]| kit.inside.members_storing(stored).sealed(&kit.source);
    run(
        &kit,
        vec![
            attack("bomb-of-2-gib", absurd.sealed(&kit.source), 6, "rule", Seen::InStreams),
            attack("bomb-of-2-gib-named-so", honest_but_huge.sealed(&kit.source), 6, "rule", Seen::InStreams),
            attack(
                "single-segment-of-9-mib",
                with(single).sealed(&kit.source),
                7,
                "rule T3",
                Seen::InStreams,
            ),
            attack("streams-swapped", swapped.sealed(&kit.source), 6, "rule B5", Seen::InStreams),
            attack("manifest-bomb", storing(&encrypt(&key, &bomb(1024))), 7, "rule T6", Seen::WithKey),
            attack(
                "manifest-of-65-mib",
                storing(&manifest(spaced.as_bytes(), frame)),
                7,
                "rule T6",
                Seen::WithKey,
            ),
            attack("manifest-not-age", storing(b"hello"), 6, "rule T2", Seen::WithKey),
            attack(
                "manifest-to-others",
                storing(&encrypt(&Identity::generate().to_public(), &frame(text.as_bytes()))),
                6,
                "rule T2",
                Seen::WithKey,
            ),
            attack(
                "manifest-of-another-bundle",
                storing(&encrypt(&key, &frame(kit.other.manifest_text().as_bytes()))),
                6,
                "rule B2",
                Seen::WithKey,
            ),
            attack(
                "manifest-without-checksum",
                storing(&manifest(text.as_bytes(), |p| zstd_frame(p, &[CParameter::ChecksumFlag(false)]))),
                6,
                "rule T3",
                Seen::WithKey,
            ),
            attack(
                "manifest-with-data-behind",
                storing(&manifest(text.as_bytes(), |p| [frame(p), vec![1]].concat())),
                6,
                "rule T4",
                Seen::WithKey,
            ),
        ],
    );
}
