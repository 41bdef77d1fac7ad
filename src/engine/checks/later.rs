//! What an import leaves for `kbpack check`: the checks, whose they are, and for whom they were signed. No secret.

use super::plan::{of_bundle, of_profile, Authority, PlannedCheck};
use super::{CheckError, Origin};
use crate::base::path::ShownPath;
use crate::component::Host;
use crate::crypto::paths::KeyPaths;
use crate::crypto::sign::{Namespace, Signer};
use crate::crypto::trust::TrustStore;
use crate::engine::error::{EngineError, Result};
use crate::engine::machine;
use crate::engine::plan::ImportPlan;
use crate::engine::state::{State, StateError};
use crate::format::{BundleId, Check};
use serde::{Deserialize, Serialize};

/// The checks of the last import.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedChecks {
    /// The bundle's id.
    pub bundle: BundleId,
    /// Its profile's name.
    pub profile: String,
    /// When it was imported: Unix time in seconds.
    pub imported: u64,
    /// Its signer's public key.
    signer: String,
    /// `--map`.
    maps: Vec<(ShownPath, ShownPath)>,
    checks: Vec<SavedCheck>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedCheck {
    origin: Origin,
    check: Check,
}

impl SavedChecks {
    /// Those of an import that holds.
    pub fn of(plan: &ImportPlan, signer: &Signer, host: &Host) -> Self {
        let saved =
            |planned: &PlannedCheck| SavedCheck { origin: planned.origin, check: planned.check.clone() };
        SavedChecks {
            bundle: plan.id,
            profile: plan.profile.clone(),
            imported: machine::now(),
            signer: signer.to_line(""),
            maps: host.maps.iter().map(|(a, b)| (ShownPath(a.clone()), ShownPath(b.clone()))).collect(),
            checks: plan.checks.iter().map(saved).collect(),
        }
    }

    /// Keeps them, in the place of those of the import before.
    pub fn save(&self, state: &State) -> Result<()> {
        Ok(state.save_checks(self)?)
    }

    /// Those of the last import.
    pub fn load(state: &State) -> Result<Self> {
        match state.load_checks() {
            Ok(saved) => saved.ok_or_else(|| CheckError::NoneSaved.into()),
            Err(StateError::Damaged { path, .. }) => Err(CheckError::Damaged(path).into()),
            Err(error) => Err(error.into()),
        }
    }

    /// The same, with what their signer may ask for today, and the host as the import saw it.
    pub fn plan(&self, paths: &KeyPaths, host: &Host) -> Result<(Vec<PlannedCheck>, Host)> {
        let signer = Signer::parse_line(&self.signer).ok_or(EngineError::from(CheckError::NoneSaved))?;
        let trusted = TrustStore::load(paths)?.check(&signer, Namespace::Bundle, machine::now());
        let (principal, hooks) = match &trusted {
            Ok(trusted) => (trusted.principal.as_str(), trusted.hooks),
            Err(_) => ("NAME", false),
        };
        let authority = Authority { principal, signer, hooks };
        let again = |saved: &SavedCheck| match saved.origin {
            Origin::Bundle => of_bundle(&saved.check, &authority),
            Origin::Profile => of_profile(&saved.check, None),
        };
        let planned = self.checks.iter().map(again).collect::<Result<_>>()?;
        let maps = self.maps.iter().map(|(a, b)| (a.0.clone(), b.0.clone())).collect();
        Ok((planned, Host { maps, ..host.clone() }))
    }
}
