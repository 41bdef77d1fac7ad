//! A bundle opens with tar, sha256sum, ssh-keygen, age and zstd alone. The commands are those that
//! README.txt inside the bundle prints.

use crate::support::{furnish, Run, World};
use std::fs;
use std::path::Path;
use std::process::Command;

fn bash(script: &str, dir: &Path, vars: &[(&str, &str)]) -> Run {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", script]).env_clear().current_dir(dir);
    command.env("PATH", std::env::var_os("PATH").unwrap()).envs(vars.iter().copied());
    Run::of(&mut command)
}

#[test]
fn the_commands_of_readme_txt_open_it() {
    let world = World::new();
    furnish(&world.source);
    let bundle = world.export("b.kbp");
    let dir = world.path("stock");
    fs::create_dir(&dir).unwrap();
    bash(&format!("tar -xf {}", bundle.display()), &dir, &[]).ok();
    let folder = fs::read_dir(&dir).unwrap().next().unwrap().unwrap().path();
    let readme = fs::read_to_string(folder.join("README.txt")).unwrap();

    // What the target has: the identity, and the source's public key as an allowed_signers line.
    let signers = world.path("signers");
    fs::write(&signers, format!("source namespaces=\"kbpack-bundle\" {}\n", world.public_key())).unwrap();
    let identity = world.target.join(".config/kbpack/identity.txt");
    let commands: Vec<&str> = readme.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert!(commands.len() >= 4, "{readme}");
    println!("{readme}");
    let fill = |command: &str| {
        command
            .replace("BUNDLE", bundle.to_str().unwrap())
            .replace("IDENTITY", identity.to_str().unwrap())
            .replace("SIGNERS", signers.to_str().unwrap())
            .replace("PRINCIPAL", "source")
            .replace("STREAM", "000001")
            .replace("OUTPUT", world.path("output").to_str().unwrap())
    };
    // All of them in a row, in a fresh folder, as a person would type them.
    let typed = world.path("typed");
    fs::create_dir(&typed).unwrap();
    let script: Vec<String> = commands.iter().map(|c| fill(c)).collect();
    let run = bash(&script.join("\n"), &typed, &[("HOME", world.target.path.to_str().unwrap())]).ok();
    println!("{}", run.text());
    assert!(
        format!("{}{}", run.text(), run.stderr).contains("Good \"kbpack-bundle\" signature"),
        "{}",
        run.text()
    );
}

#[test]
fn every_components_plaintext_byte_for_byte() {
    let world = World::new();
    furnish(&world.source);
    let bundle = world.export("b.kbp");
    let dir = world.path("stock");
    fs::create_dir(&dir).unwrap();
    bash(&format!("tar -xf {} --strip-components=1", bundle.display()), &dir, &[]).ok();
    bash("sha256sum --quiet -c SHA256SUMS", &dir, &[]).ok();
    let identity = world.target.join(".config/kbpack/identity.txt");
    let vars = [("ID", identity.to_str().unwrap())];
    let open = |number: u64| {
        let script = format!("cat s/{number:06}/* | age -d -i <(age -d -i \"$ID\" keys/0.age) | zstd -qd");
        bash(&script, &dir, &vars).ok().stdout
    };
    let last = fs::read_dir(dir.join("s"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .max()
        .unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&open(last.parse().unwrap())).unwrap();

    let out = world.path("out");
    for component in manifest["components"].as_array().unwrap() {
        let name = component["name"].as_str().unwrap();
        world.target.kbpack(&["extract", bundle.to_str().unwrap(), name, "-C", out.to_str().unwrap()]).ok();
        for stream in component["streams"].as_array().unwrap() {
            let plain = open(stream["number"].as_u64().unwrap());
            let extracted = fs::read(out.join(name).join(stream["name"].as_str().unwrap())).unwrap();
            assert!(plain == extracted, "{name}/{}", stream["name"]);
            assert_eq!(plain.len() as u64, stream["size"].as_u64().unwrap());
        }
    }

    // And tar restores the tree: what rsync would still change is nothing but what was left out.
    let tree = world.path("tree");
    fs::create_dir(&tree).unwrap();
    bash(&format!("cat {}/app/tree/* | tar -xpif - -C {}", out.display(), tree.display()), &dir, &[]).ok();
    let differs = bash(
        &format!(
            "rsync -aHAXn --delete --itemize-changes --exclude=/debug --exclude=/credentials.json {}/ {}/",
            world.source.join("app").display(),
            tree.display()
        ),
        &dir,
        &[],
    );
    let differs: Vec<String> =
        differs.ok().text().lines().filter(|l| !l.ends_with(" ./")).map(str::to_owned).collect();
    assert!(differs.is_empty(), "{differs:?}");
}

#[test]
fn sizes_of_secrets_do_not_show() {
    let world = World::new();
    furnish(&world.source);
    world.source.profile(
        "[component.keys]\nkind = \"secrets\"\nenv = { file = \"~/.bashrc\", names = [\"API_KEY\"] }\n",
    );
    let sizes = |name: &str| {
        let listing = bash(
            &format!("tar -tvf {} | awk '$6 ~ /\\/s\\// {{print $3}}'", world.export(name).display()),
            world.dir.path(),
            &[],
        );
        // age adds a stanza of random length to each header; what is encrypted is what counts.
        let stored: Vec<u64> =
            listing.ok().text().lines().map(|size| size.parse::<u64>().unwrap() / 4096).collect();
        assert_eq!(stored.len(), 2);
        stored
    };
    let short = sizes("short.kbp");
    world.source.write(
        ".bashrc",
        format!(
            "export API_KEY='sk-{}'\n",
            kbpack::base::digest::encode_hex(&world.source.read(".config/kbpack/signing_key"))
        ),
    );
    assert_eq!(short, sizes("long.kbp"));
}
