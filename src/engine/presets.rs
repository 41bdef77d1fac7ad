//! The presets: profiles that come with kbpack, for what many machines have. All that is particular is in their files.

use crate::component::Host;
use crate::engine::error::{EngineError, Result};
use crate::engine::profile::{Profile, ProfileError};
use include_dir::{include_dir, Dir};
use serde::Deserialize;

/// One folder a preset: `preset.toml` about it, and the profile.
static PRESETS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/src/presets");

/// A profile that comes with kbpack.
#[derive(Debug)]
pub struct Preset {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub about: String,
    /// Its profile, as a person would write it.
    pub text: &'static str,
    /// What is there where it fits.
    fits: Vec<String>,
}

/// `preset.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    about: String,
    fits: Vec<String>,
}

impl Preset {
    /// The one called `name`.
    pub fn named(name: &str) -> Result<Preset> {
        let known = || all().map(|preset| preset.name).collect::<Vec<_>>().join(", ");
        all().find(|preset| preset.name == name).ok_or_else(|| {
            EngineError::from(ProfileError::NoSuchPreset { name: name.to_owned(), known: known() })
        })
    }

    /// The one for this machine: of those whose places are all there, the one with the most.
    pub fn fitting(host: &Host) -> Option<Preset> {
        let there = |place: &String| host.expand(place).is_some_and(|path| path.exists());
        all().filter(|preset| preset.fits.iter().all(there)).max_by_key(|preset| preset.fits.len())
    }

    /// It as a profile.
    pub fn profile(&self) -> Result<Profile> {
        Profile::of_preset(&self.name, self.text)
    }
}

/// All of them.
pub fn all() -> impl Iterator<Item = Preset> {
    PRESETS.dirs().filter_map(|folder| {
        let text = |name| PRESETS.get_file(folder.path().join(name))?.contents_utf8();
        let About { about, fits } = toml::from_str(text("preset.toml")?).ok()?;
        let name = folder.path().to_str()?.to_owned();
        Some(Preset { name, about, fits, text: text("profile.toml")? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::claims::carve;

    #[test]
    fn each_folder_is_a_whole_preset_and_its_components_get_along() {
        let home = tempfile::tempdir().unwrap();
        let host = Host { home: home.path().to_owned(), uid: 1000, own: Vec::new(), maps: Vec::new() };
        assert_eq!(all().count(), PRESETS.dirs().count());
        assert!(Preset::fitting(&host).is_none());
        for preset in all() {
            assert!(!preset.about.is_empty() && !preset.fits.is_empty(), "{}", preset.name);
            let profile = preset.profile().unwrap();
            assert_eq!(profile.name, preset.name);
            let components = profile.components(&host).unwrap();
            carve(&components, &host).unwrap();
        }
    }

    #[test]
    fn the_one_that_fits_best_is_taken() {
        let home = tempfile::tempdir().unwrap();
        let host = Host { home: home.path().to_owned(), uid: 1000, own: Vec::new(), maps: Vec::new() };
        std::fs::create_dir(home.path().join(".claude")).unwrap();
        assert_eq!(Preset::fitting(&host).unwrap().name, "claude-code");
        std::fs::create_dir_all(home.path().join("projects/kage-bunshin")).unwrap();
        assert_eq!(Preset::fitting(&host).unwrap().name, "kage-bunshin");
        let unknown = Preset::named("nothing").unwrap_err().to_string();
        assert_eq!(unknown, "there is no preset 'nothing': there are claude-code, kage-bunshin");
    }
}
