//! Who owns what. Where claims nest, the deeper one owns the path and every other component leaves it out.

use crate::base::name::ComponentName;
use crate::component::{Claim, Component, Host};
use crate::engine::error::{EngineError, In, Result};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A component under its name.
pub type Named = (ComponentName, Box<dyn Component>);

/// For each component, in the order given: the paths inside its claims that belong to others.
///
/// Errors: two equal claims; a claim on kbpack's own directories.
pub fn carve(components: &[Named], host: &Host) -> Result<Vec<Vec<PathBuf>>> {
    let mut owners: BTreeMap<Claim, usize> = BTreeMap::new();
    for (index, (name, component)) in components.iter().enumerate() {
        for claim in component.claims().within(name)? {
            if let Claim::Path(path) = &claim {
                if host.own.iter().any(|own| path.starts_with(own)) {
                    return Err(EngineError::OwnDirectory { name: name.clone(), what: path.clone() });
                }
            }
            match owners.insert(claim.clone(), index) {
                Some(other) if other != index => {
                    let what = match claim {
                        Claim::Path(path) => path.display().to_string(),
                        Claim::Database(name) => format!("the database {name}"),
                    };
                    return Err(EngineError::SameClaim {
                        first: components[other].0.clone(),
                        second: name.clone(),
                        what,
                    });
                }
                _ => {}
            }
        }
    }
    let paths: Vec<(&PathBuf, usize)> = owners
        .iter()
        .filter_map(|(claim, owner)| match claim {
            Claim::Path(path) => Some((path, *owner)),
            Claim::Database(_) => None,
        })
        .collect();
    let carved = |index: usize| {
        let mine = paths.iter().filter(move |(_, owner)| *owner == index);
        let inside = mine.flat_map(|(root, _)| {
            paths
                .iter()
                .filter(move |(path, owner)| *owner != index && path.starts_with(root))
                .map(|(path, _)| (*path).clone())
        });
        inside.collect()
    };
    Ok((0..components.len()).map(carved).collect())
}

/// The order in which components are staged and committed: each after those it comes after and after those
/// whose claims it nests in (so that folders are made by whom they belong to), databases after those that bring passwords,
/// else as given. `carved` is what [`carve`] returned.
pub fn order(components: &[Named], carved: &[Vec<PathBuf>]) -> Result<Vec<usize>> {
    let mut around: Vec<Vec<usize>> = Vec::with_capacity(components.len());
    let mut databases = Vec::with_capacity(components.len());
    let brings: Vec<bool> =
        components.iter().map(|(_, component)| !component.logins(None).is_empty()).collect();
    for (name, component) in components {
        let claims = component.claims().within(name)?;
        // By their bytes: a claim is in its one form, and paths compare by segments, slowly, from the end.
        let same = |own: &PathBuf, path: &PathBuf| own.as_os_str() == path.as_os_str();
        let mine =
            |path: &PathBuf| claims.iter().any(|claim| matches!(claim, Claim::Path(own) if same(own, path)));
        databases.push(claims.iter().any(|claim| matches!(claim, Claim::Database(_))));
        around.push((0..components.len()).filter(|other| carved[*other].iter().any(mine)).collect());
    }
    let mut order = Vec::with_capacity(components.len());
    let mut left: Vec<usize> = (0..components.len()).collect();
    while !left.is_empty() {
        let waits = |index: &usize| {
            let named = |other: &usize| components[*index].1.after().contains(&components[*other].0);
            // Who is to take a database back must still have the password that came with it.
            let brought = |other: &usize| databases[*index] && brings[*other];
            let before = |other: &usize| around[*index].contains(other) || named(other) || brought(other);
            left.iter().any(|other| other != index && before(other))
        };
        let Some(at) = left.iter().position(|index| !waits(index)) else {
            let names: Vec<&str> = left.iter().map(|i| components[*i].0.as_str()).collect();
            return Err(EngineError::Circle(names.join(", ")));
        };
        order.push(left.remove(at));
    }
    Ok(order)
}
