//! Two homes between which a database moves.

use crate::cluster::Server;
use crate::support::{Home, Run, World};
use std::path::{Path, PathBuf};

/// Two homes, each with a server of its own.
pub struct Pair {
    pub world: World,
    pub source: Server,
    pub target: Server,
}

impl Pair {
    pub fn new() -> Pair {
        Pair { world: World::new(), source: Server::start(), target: Server::start() }
    }

    /// Profiles for a database `app` on both sides, as `role`; `more` goes into the source's, `own` into the target's.
    pub fn profiles(&self, role: &str, more: &str, own: &str) {
        profile(&self.world.source, &self.source.url(role, "app"), more);
        profile(&self.world.target, &self.target.url(role, "app"), own);
    }

    #[track_caller]
    pub fn export(&self, name: &str) -> PathBuf {
        self.world.export(name)
    }

    #[track_caller]
    pub fn import(&self, bundle: &Path) -> Run {
        self.world.import(bundle, &["--accept-new"])
    }
}

pub fn profile(home: &Home, url: &str, more: &str) {
    home.profile(&format!(
        "[bundle]\nname = \"pg\"\n\n[component.db]\nkind = \"postgres\"\nurl = \"{url}\"\n{more}\n"
    ));
}
