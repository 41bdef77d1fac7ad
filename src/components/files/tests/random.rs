//! Trees made by chance, onto trees made by chance.

use super::world::*;
use serde_json::json;
use std::path::Path;

/// Numbers by chance, the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Few names, so that two trees often have the same ones, of other types.
fn grow(root: &Path, chance: &mut Chance, depth: u64, files: &mut Vec<std::path::PathBuf>) {
    std::fs::create_dir_all(root).unwrap();
    for name in ["a", "a-", "b", "c\n", "d.log"] {
        let path = root.join(name);
        match chance.below(7) {
            0 | 1 => {
                std::fs::write(&path, "x".repeat(chance.below(3) as usize)).unwrap();
                chmod(&path, [0o644, 0o755, 0o400][chance.below(3) as usize]);
                touch(&path, 1_000 + chance.below(2) as i64, chance.below(2) as i64);
                files.push(path);
            }
            2 if depth > 0 => grow(&path, chance, depth - 1, files),
            3 if depth > 0 => {
                grow(&path, chance, depth - 1, files);
                chmod(&path, [0o555, 0o700, 0o2775][chance.below(3) as usize]);
            }
            4 => {
                std::os::unix::fs::symlink(["a", "nowhere"][chance.below(2) as usize], &path).unwrap();
                touch(&path, 2_000, chance.below(2) as i64);
            }
            5 if !files.is_empty() => {
                let first = &files[chance.below(files.len() as u64) as usize];
                std::fs::hard_link(first, &path).unwrap();
            }
            _ => {}
        }
    }
}

#[test]
fn a_mirror_makes_them_equal_and_undo_makes_them_different_again() {
    for seed in 0..60 {
        let world = World::with(json!({"mode": "mirror", "symlinks": "replace"}));
        let mut chance = Chance(seed);
        grow(&world.src(""), &mut chance, 3, &mut Vec::new());
        grow(&world.dst(""), &mut chance, 3, &mut Vec::new());
        let (want, before) = (snapshot(&world.src("")), snapshot(&world.dst("")));
        let mut job = world.plan();
        assert_eq!(job.refusals(), Vec::<String>::new(), "seed {seed}");
        job.stage().unwrap();
        job.commit().unwrap();
        job.check();
        assert_eq!(snapshot(&world.dst("")), want, "seed {seed}");
        assert_eq!(job.undo(&job.journal.acts), [], "seed {seed}");
        assert_eq!(snapshot(&world.dst("")), before, "seed {seed}");
        world.import();
        assert_eq!(world.plan().changes(), Vec::<String>::new(), "seed {seed}");
    }
}
