//! Files that programs run, or obey, because of where they are and what they are called. The list can never be complete.

use std::path::Path;

/// Read by shells when they start.
const SHELL: [&str; 19] = [
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".bash_logout",
    ".bash_aliases",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".zlogin",
    ".zlogout",
    ".kshrc",
    ".cshrc",
    ".tcshrc",
    ".login",
    ".xprofile",
    ".xsession",
    "bash.bashrc",
    "config.fish",
];

/// A name's ends that systemd takes for units.
const UNITS: [&str; 8] =
    [".service", ".timer", ".socket", ".path", ".mount", ".automount", ".swap", ".target"];

/// Why what is at `path`, which is absolute, will be run or obeyed by some program; `None` if this knows none that does.
pub fn why_run(path: &Path) -> Option<&'static str> {
    let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    let [above @ .., name] = &parts[..] else { return None };
    let folder = above.last().copied().unwrap_or_default();
    let is_in = |names: &[&str]| above.iter().any(|part| names.contains(part));
    let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    if SHELL.contains(name) || folder == "profile.d" || folder == "conf.d" && is_in(&["fish"]) {
        return Some("shells read it");
    }
    if is_in(&["systemd"]) {
        let links = folder.ends_with(".wants") || folder.ends_with(".requires");
        let drop_in = folder.ends_with(".d") && ends(&[".conf"]);
        return (links || drop_in || ends(&UNITS)).then_some("systemd unit");
    }
    if is_in(&["cron.d", "cron.hourly", "cron.daily", "cron.weekly", "cron.monthly", "crontabs"])
        || matches!(*name, "crontab" | "anacrontab")
    {
        return Some("cron reads it");
    }
    match (folder, *name) {
        ("autostart", name) if name.ends_with(".desktop") => Some("started with each session"),
        ("environment.d", name) if name.ends_with(".conf") => Some("variables of each session"),
        (".ssh", "authorized_keys" | "authorized_keys2") => Some("lets in whom it names"),
        (".ssh", "config" | "rc" | "environment") | ("ssh", "ssh_config" | "sshd_config" | "sshrc") => {
            Some("ssh obeys it")
        }
        (_, ".gitconfig") | (".git" | "git", "config") => Some("git obeys it"),
        ("etc", "sudoers") | ("sudoers.d", _) => Some("says who may be root"),
        ("etc", "ld.so.preload") => Some("loaded into every program"),
        ("rules.d", name) if name.ends_with(".rules") => Some("udev obeys it"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_are_known() {
        for (path, why) in [
            ("/home/ada/.bashrc", "shells read it"),
            ("/etc/profile.d/app.sh", "shells read it"),
            ("/home/ada/.config/fish/conf.d/app.fish", "shells read it"),
            ("/home/ada/.config/systemd/user/app.service", "systemd unit"),
            ("/etc/systemd/system/app.service.d/limits.conf", "systemd unit"),
            ("/etc/systemd/system/multi-user.target.wants/app", "systemd unit"),
            ("/etc/cron.d/app", "cron reads it"),
            ("/etc/crontab", "cron reads it"),
            ("/var/spool/cron/crontabs/ada", "cron reads it"),
            ("/home/ada/.config/autostart/app.desktop", "started with each session"),
            ("/home/ada/.ssh/authorized_keys", "lets in whom it names"),
            ("/home/ada/.ssh/config", "ssh obeys it"),
            ("/home/ada/app/.git/config", "git obeys it"),
            ("/home/ada/.config/git/config", "git obeys it"),
            ("/etc/sudoers.d/app", "says who may be root"),
            ("/etc/ld.so.preload", "loaded into every program"),
        ] {
            assert_eq!(why_run(Path::new(path)), Some(why), "{path}");
        }
        for path in [
            "/",
            "/home/ada/notes.txt",
            "/home/ada/systemd/notes.txt",
            "/home/ada/app.service",
            "/home/ada/bashrc",
            "/home/ada/.ssh/known_hosts",
            "/home/ada/app/config",
        ] {
            assert_eq!(why_run(Path::new(path)), None, "{path}");
        }
    }
}
