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

/// Read by programs that run the commands in them when they start, or that load the code they name.
const COMMANDS: [&str; 24] = [
    ".xinitrc",
    ".xsessionrc",
    ".pam_environment",
    ".vimrc",
    ".exrc",
    ".gvimrc",
    ".emacs",
    ".gdbinit",
    ".tmux.conf",
    ".screenrc",
    ".psqlrc",
    ".envrc",
    ".direnvrc",
    ".npmrc",
    ".hgrc",
    ".curlrc",
    ".wgetrc",
    ".mailcap",
    ".forward",
    ".procmailrc",
    ".pythonrc",
    "usercustomize.py",
    "sitecustomize.py",
    "rc.local",
];
/// Folders in which some program looks for what to run or obey, whatever else is above them.
const FOLDERS: [&str; 26] = [
    ".ssh",
    ".git",
    ".gnupg",
    ".config",
    ".local",
    "bin",
    "git",
    "fish",
    "nvim",
    "systemd",
    "autostart",
    "environment.d",
    "profile.d",
    "rules.d",
    "sudoers.d",
    "cron.d",
    "cron.hourly",
    "cron.daily",
    "cron.weekly",
    "cron.monthly",
    "crontabs",
    "init.d",
    "pam.d",
    "site-packages",
    "kbpack-env",
    "conf.d",
];

/// Why a file in which commands stand is named.
pub const COMMANDS_IN_IT: &str = "programs run what stands in it";

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
    if COMMANDS.contains(name) || folder == "site-packages" && ends(&[".pth"]) {
        return Some(COMMANDS_IN_IT);
    }
    match (folder, *name) {
        (_, "env.sh") if is_in(&["kbpack-env"]) => Some("shells read it"),
        ("nvim", "init.lua" | "init.vim") | (".emacs.d", "init.el") => Some(COMMANDS_IN_IT),
        (".aws", "config") | (".kube", "config") | (".docker", "config.json") | (".cargo", "config.toml") => {
            Some("names programs that are run")
        }
        ("pip", "pip.conf") | (".pip", "pip.conf") | ("etc", "pip.conf") => {
            Some("says where pip gets code from")
        }
        ("etc", "environment") => Some("variables of each session"),
        ("pam.d", _) => Some("says who may log in"),
        ("services", name) if name.ends_with(".service") && is_in(&["dbus-1"]) => Some("D-Bus starts it"),
        ("autostart", name) if name.ends_with(".desktop") => Some("started with each session"),
        ("environment.d", name) if name.ends_with(".conf") => Some("variables of each session"),
        (".ssh", "authorized_keys" | "authorized_keys2") => Some("lets in whom it names"),
        (".ssh", "config" | "rc" | "environment") | ("ssh", "ssh_config" | "sshd_config" | "sshrc") => {
            Some("ssh obeys it")
        }
        (_, ".gitconfig") | (".git" | "git", "config") => Some("git obeys it"),
        ("etc", "sudoers") | ("sudoers.d", _) => Some("says who may be root"),
        ("etc", "ld.so.preload" | "ld.so.conf") | ("ld.so.conf.d", _) => Some("loaded into every program"),
        ("rules.d", name) if name.ends_with(".rules") => Some("udev obeys it"),
        _ => None,
    }
}

/// Why a symlink at `path` will have something run or obeyed: it is itself such a file, or may lead to a folder of such files,
/// which need not have such names where they really are.
pub fn why_run_by_link(path: &Path) -> Option<&'static str> {
    let known = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| FOLDERS.contains(&name));
    let within = || path.iter().any(|part| part == "systemd");
    why_run(path).or_else(|| (known || within()).then_some("programs look where it leads"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_are_known() {
        for path in [
            "/home/ada/.ssh",
            "/home/ada/.config/systemd/user",
            "/home/ada/.config/autostart",
            "/home/ada/.bashrc",
        ] {
            assert!(why_run_by_link(Path::new(path)).is_some(), "{path}");
        }
        assert_eq!(why_run_by_link(Path::new("/home/ada/app/current")), None);
    }

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
            ("/home/ada/.config/kbpack-env/keys/env.sh", "shells read it"),
            ("/home/ada/.psqlrc", "programs run what stands in it"),
            ("/home/ada/.local/lib/python3.11/site-packages/x.pth", "programs run what stands in it"),
            ("/home/ada/.kube/config", "names programs that are run"),
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
