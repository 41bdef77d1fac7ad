//! The profiles in the documents are profiles.

use crate::support::World;
use std::fs;
use std::path::Path;

#[test]
fn every_example_of_a_profile_can_be_read() {
    let world = World::new();
    let mut read = 0;
    for file in ["README.md", "docs/PROFILE.md", "docs/GUIDE.md"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        for example in text.split("```toml\n").skip(1) {
            let example = example.split("```").next().unwrap();
            let more = match example.contains("[component.") {
                true => "",
                false => "\n[component.x]\nkind = \"files\"\npath = \"~/x\"\n",
            };
            let example = example.replace("age1qy9...", &world.recipient);
            world.source.profile(&format!("{example}{more}"));
            let run = world.source.kbpack(&["export", "--dry-run", "-r", &world.recipient]);
            // What it names is not here; that is found when the profile was read.
            assert_eq!(run.code, 8, "{file}:\n{example}\n{}", run.stderr);
            read += 1;
        }
    }
    assert!(read >= 5);
}
