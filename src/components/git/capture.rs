//! Source: a repository becomes a git bundle, and the list of its commits.

use super::facts::{Facts, Profile, Remote, State, Uncommitted, Upstream};
use super::header::Header;
use super::names::Id;
use super::open::{failed, open};
use super::{
    graph, left_behind, lfs, pack, pending, refs, stashes, submodules, work, BUNDLE, GRAPH, UNCOMMITTED,
};
use crate::base::path::shown;
use crate::component::{
    stream_name, Error, Finding, Holds, Progress, Result, Scope, Severity, StreamSink, StreamWrite, Survey,
};
use git2::{Oid, Repository};
use std::io::{self, Write};
use std::path::Path;

/// What would be packed.
pub fn survey(path: &Path, profile: &Profile, scope: &Scope<'_>) -> Result<Survey> {
    let repo = open(path)?;
    let header = refs::header(&repo, profile)?;
    let mut findings = Vec::new();
    if let Some(refusal) = uncommitted(&repo, profile, scope)? {
        findings.push(refusal);
    }
    findings.extend(left_behind::finding(&repo, scope)?);
    let (mut items, mut bytes) = (header.refs.len() as u64, size_of_objects(&repo));
    if let Some(needed) = lfs::needed(&repo, &header, profile, scope, &mut findings)? {
        items += needed.objects.len() as u64;
        bytes += needed.bytes();
    }
    Ok(Survey { origins: vec![shown(path)], items, bytes, findings })
}

/// Bytes of all packs and loose objects, whether a ref leads to them or not.
fn size_of_objects(repo: &Repository) -> u64 {
    let entries = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten();
    let is_object = |file: &Path| match file.extension() {
        Some(extension) => extension == "pack",
        // A loose one is named by 38 of its 40 digits.
        None => file.file_name().is_some_and(|name| name.len() == 38),
    };
    let files = entries(&repo.commondir().join("objects")).flat_map(|folder| entries(&folder.path()));
    let objects = files.filter(|file| is_object(&file.path()));
    objects.filter_map(|file| file.metadata().ok()).map(|meta| meta.len()).sum()
}

/// What is in no commit, as a finding: a refusal, or a note where the profile says so.
fn uncommitted(repo: &Repository, profile: &Profile, scope: &Scope<'_>) -> Result<Option<Finding>> {
    let changes = work::changes(repo, scope.carved)?;
    if changes.is_empty() {
        return Ok(None);
    }
    let place = shown(repo.workdir().unwrap_or(repo.path()));
    let what = format!("{place}: changes that are in no commit: {}", work::few(&changes));
    Ok(Some(match profile.uncommitted {
        Uncommitted::Refuse => Finding::new(Severity::Refusal, what).todo(
            "commit or stash them, or set uncommitted to \"include\", and they travel, or to \"ignore\"",
        ),
        Uncommitted::Include => Finding::new(Severity::Note, what).todo("they travel"),
        Uncommitted::Ignore => Finding::new(Severity::Warning, what).todo("they stay behind"),
    }))
}

/// What a capture is for.
#[derive(Clone, Copy)]
pub enum For<'a> {
    /// Whoever gets it.
    Anybody,
    /// Targets that have these commits already, and all that they lead to.
    WhoeverHas(&'a [Oid]),
    /// A rollback. It takes what is committed, whatever else is there: an import that would touch more is refused in its plan.
    Backup,
}

/// Writes the streams of the repository at `path`; `shown_as` is the path for the manifest. Returns the facts, and what was
/// noticed.
pub fn capture(
    path: &Path,
    shown_as: &str,
    profile: &Profile,
    purpose: For<'_>,
    scope: &Scope<'_>,
    sink: &dyn StreamSink,
) -> Result<(Facts, Vec<Finding>)> {
    let exact = matches!(purpose, For::Backup);
    let repo = open(path)?;
    let mut header = refs::header(&repo, profile)?;
    let mut findings = Vec::new();
    match uncommitted(&repo, profile, scope)?.filter(|_| !exact) {
        Some(found) if found.severity == Severity::Refusal => {
            let remedy = found.remedy.unwrap_or_default();
            return Err(Error::not_ready(found.what).todo(remedy));
        }
        found => findings.extend(found),
    }
    let mut facts = describe(&repo, shown_as, exact, &mut findings)?;
    let large = lfs::require(&repo, &header, profile, scope, &mut findings)?;
    if !facts.submodules.is_empty() && !exact && !profile.submodules {
        let what = format!("{shown_as}: its submodules do not travel: {}", work::few(&facts.submodules));
        findings.push(Finding::new(Severity::Warning, what).todo("set submodules = true, and they do"));
    }
    facts.refs = header.refs.len() as u64;
    if !exact {
        findings.extend(left_behind::finding(&repo, scope)?);
    }
    if header.refs.contains_key(stashes::REF) {
        facts.stashes = stashes::list(&repo)?;
        facts.stashes.truncate(stashes::MAX);
        header.own = stashes::own_refs(&facts.stashes);
    }
    let known = match purpose {
        For::WhoeverHas(known) => known,
        _ => &[],
    };
    // A repository without a commit has nothing to be packed.
    if !header.refs.is_empty() || header.head.is_some() {
        write(&repo, &mut header, known, scope, sink)?;
    }
    facts.needs = header.needs.len() as u64;
    if facts.needs > 0 {
        let what = format!(
            "{shown_as}: packed without what the target has: {} commits of its own are needed to import it",
            facts.needs
        );
        findings.push(
            Finding::new(Severity::Warning, what).todo("no archive: export without --incremental for that"),
        );
    }
    if profile.uncommitted == Uncommitted::Include
        && !exact
        && !work::changes(&repo, scope.carved)?.is_empty()
    {
        let head = header.head.ok_or_else(|| {
            Error::not_ready(format_args!("{}: what is in no commit has no commit to stand on", shown(path)))
                .todo("commit it, or choose refs that HEAD's branch is among")
        })?;
        let mut stream = sink.create(&stream_name(UNCOMMITTED)?, Holds::Data)?;
        stream.label("uncommitted work");
        let mut told = Told { to: stream, progress: Some(scope.progress) };
        facts.uncommitted = Some(pending::capture(path, head, scope.carved, &mut told)?);
        told.to.finish()?;
    }
    if let Some(needed) = large {
        facts.lfs = lfs::capture(&needed, scope, sink)?;
    }
    Ok((facts, findings))
}

/// Writes `graph` and the git bundle, and into `header` what it leaves out.
fn write(
    repo: &Repository,
    header: &mut Header,
    known: &[Oid],
    scope: &Scope<'_>,
    sink: &dyn StreamSink,
) -> Result<()> {
    let tips = header.tips();
    let mut list = sink.create(&stream_name(GRAPH)?, Holds::Data)?;
    list.label("graph");
    let mut buffered = io::BufWriter::with_capacity(64 * 1024, Told { to: list, progress: None });
    let needs = graph::write(repo, &tips, known, &mut buffered)?;
    let list = buffered.into_inner().map_err(|e| Error::io("stream graph", e.into_error()))?;
    list.to.finish()?;
    header.needs = needs.into_iter().map(|id| (id, subject(repo, id))).collect();

    let mut bundle =
        Told { to: sink.create(&stream_name(BUNDLE)?, Holds::Data)?, progress: Some(scope.progress) };
    bundle.to.label("bundle");
    bundle.write_all(&header.to_bytes()).map_err(|e| Error::io("the git bundle", e))?;
    // What is left out is what the prerequisites lead to, and nothing else that the target may have.
    let left_out: Vec<Oid> = header.needs.keys().map(|id| id.0).collect();
    pack::write(repo, (&tips, &left_out), scope.threads, &mut bundle)?;
    bundle.to.finish()
}

/// What a commit says of itself, for people.
fn subject(repo: &Repository, id: Id) -> String {
    let commit = repo.find_commit(id.0).ok();
    let summary = commit.as_ref().and_then(|commit| commit.summary_bytes()).unwrap_or_default();
    String::from_utf8_lossy(summary).replace(char::is_control, " ")
}

/// A stream that says how far it is.
struct Told<'a> {
    to: Box<dyn StreamWrite>,
    progress: Option<&'a dyn Progress>,
}

impl Write for Told<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.to.write(bytes)?;
        if let Some(progress) = self.progress {
            progress.expect(n as u64);
            progress.advance(n as u64);
        }
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// The facts but for the number of refs.
fn describe(repo: &Repository, shown_as: &str, exact: bool, findings: &mut Vec<Finding>) -> Result<Facts> {
    let git = |e: git2::Error| failed(repo.path(), &e);
    let mut warn =
        |what: String| findings.push(Finding::new(Severity::Warning, format!("{shown_as}: {what}")));
    let config = repo.config().and_then(|mut config| config.snapshot()).map_err(git)?;
    let mut remotes = Vec::new();
    for name in repo.remotes().map_err(git)?.iter().filter_map(|name| name.ok().flatten()) {
        let Ok(url) = config.get_string(&format!("remote.{name}.url")) else { continue };
        let (url, secret) = without_password(&url);
        if secret {
            warn(format!("the password in the URL of the remote {name} does not travel"));
        }
        match super::names::is_remote(name) && super::names::is_url(&url) {
            true => remotes.push(Remote { name: name.to_owned(), url }),
            false => warn(format!("the remote {name} does not travel: git could take its URL for a command")),
        }
    }
    let mut upstreams = Vec::new();
    for branch in repo.branches(Some(git2::BranchType::Local)).map_err(git)? {
        let (branch, _) = branch.map_err(git)?;
        let Ok(Some(branch)) = branch.name().map(|name| name.map(str::to_owned)) else { continue };
        let text = |key: &str| config.get_string(&format!("branch.{branch}.{key}")).ok();
        if let (Some(remote), Some(merge)) = (text("remote"), text("merge")) {
            // One may follow a URL instead of a remote: that stays behind.
            if remote == "." || remotes.iter().any(|r| r.name == remote) {
                upstreams.push(Upstream { branch, remote, merge });
            }
        }
    }
    let stashes = stashes::list(repo)?.len();
    if stashes > stashes::MAX {
        warn(format!("of its {stashes} stashes only the newest {} travel", stashes::MAX));
    }
    let submodules = submodules_in_head(repo)?;
    let state = if repo.is_bare() { State::Bare } else { State::WorkTree };
    let head = Some(refs::head(repo)?);
    Ok(Facts {
        path: shown_as.to_owned(),
        state,
        exact,
        head,
        refs: 0,
        stashes: Vec::new(),
        needs: 0,
        uncommitted: None,
        remotes,
        upstreams,
        submodules,
        modules: Vec::new(),
        lfs: None,
        above: 0,
    })
}

/// A URL without the password in it, and whether there was one. The user's name stays: it says who is to log in.
pub fn without_password(url: &str) -> (String, bool) {
    let split = || {
        let (scheme, rest) = url.split_once("://")?;
        let end = rest.find('/').unwrap_or(rest.len());
        let (user, host) = rest[..end].rsplit_once('@')?;
        let name = match user.split_once(':') {
            Some((name, _)) => name,
            // A token alone, where a name should be.
            None if scheme.starts_with("http") => "",
            None => return None,
        };
        let at = if name.is_empty() { "" } else { "@" };
        Some(format!("{scheme}://{name}{at}{host}{}", &rest[end..]))
    };
    split().map_or_else(|| (url.to_owned(), false), |url| (url, true))
}

/// The submodules in HEAD.
fn submodules_in_head(repo: &Repository) -> Result<Vec<String>> {
    let Some(commit) = refs::head_commit(repo)? else { return Ok(Vec::new()) };
    Ok(submodules::links(repo, commit)?.into_iter().map(|(path, _)| path).collect())
}

#[cfg(test)]
mod tests {
    use super::without_password;

    #[test]
    fn passwords_in_urls_stay_behind() {
        for (url, without) in [
            ("https://ada:hunter2@host/x.git", "https://ada@host/x.git"),
            ("https://ghp_token@host/x", "https://host/x"),
            ("https://a:b@c:d@host/x", "https://a@host/x"),
            ("ssh://git:pw@host/x@y", "ssh://git@host/x@y"),
        ] {
            assert_eq!(without_password(url), (without.to_owned(), true));
        }
        for url in ["https://host/x@y", "git@host:x.git", "/srv/x.git", "ssh://git@host/x"] {
            assert_eq!(without_password(url), (url.to_owned(), false));
        }
    }
}
