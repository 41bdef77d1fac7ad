//! What a backup before an import holds: the files that it changes, whole, and the names of those that it makes.

use super::disk::{self, Links};
use super::model::{Backup, FileEntry, Mode, Model};
use super::target::Planned;
use super::values::{FileValue, Packed, Values};
use super::Secrets;
use crate::component::{Error, Result};
use std::path::Path;

impl Secrets {
    /// A backup of what `plan` changes: the files themselves, as they are, and the names of those that are not there.
    pub(super) fn before(&self, plan: &Planned) -> Result<(Values, Model)> {
        let shown = |path: &Path| {
            let text = self.host.contract(path);
            let bad = || Error::not_ready(format_args!("{} is not UTF-8", path.display())).todo("use --map");
            text.ok_or_else(bad)
        };
        let (mut values, mut files, mut backup) = (Values::default(), Vec::new(), Backup::default());
        for target in plan.targets.iter().filter(|target| target.changes()) {
            let path = shown(&target.path)?;
            values.left.extend(target.digest().map(|new| (path.clone(), new)));
            match disk::read(&target.path, Links::Refuse)? {
                None => backup.absent.push(path),
                Some(seen) => {
                    backup.times.insert(path.clone(), seen.mtime);
                    let mode = Some(Mode(seen.mode & 0o777));
                    let declared = self.model.files.iter().find(|file| file.path == path);
                    let runs = declared.map_or_else(Vec::new, |file| file.runs.clone());
                    files.push(FileEntry { path: path.clone(), mode, runs, ..FileEntry::default() });
                    values.files.push(FileValue { path, value: Packed(seen.bytes) });
                }
            }
        }
        backup.folders = plan.dirs.iter().map(|dir| shown(dir)).collect::<Result<_>>()?;
        Ok((values, Model { files, backup: Some(backup), ..Model::default() }))
    }
}
