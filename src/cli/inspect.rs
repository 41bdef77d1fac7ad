//! `kbpack inspect`

use crate::base::name::ComponentName;
use crate::cli::error::CliError;
use crate::cli::keys::BundleArgs;
use crate::cli::Context;
use crate::component::{Listed, NotPacked};
use crate::engine::inspect::{list, not_packed};
use crate::format::Manifest;
use crate::report::text;
use serde::Serialize;
use std::collections::BTreeMap;

/// Show what is in a bundle
///
/// Reads and hashes only what it shows, so it takes the same time for any size. `kbpack verify` checks the rest.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  kbpack inspect state.kbp\n  kbpack inspect state.kbp --files\n  kbpack inspect state.kbp --json | jq .manifest.components"
)]
pub struct Args {
    #[command(flatten)]
    bundle: BundleArgs,
    /// List each file too
    #[arg(long)]
    files: bool,
}

/// Rows that are written at once.
const PAGE: usize = 1000;

#[derive(Serialize)]
struct Document<'a> {
    signer: &'a str,
    manifest: &'a Manifest,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    not_packed: BTreeMap<ComponentName, Vec<NotPacked>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Vec<Row>>,
}

#[derive(Serialize)]
struct Row {
    component: String,
    #[serde(flatten)]
    listed: Listed,
}

impl Args {
    /// Shows.
    pub fn run(self, context: &Context) -> Result<(), CliError> {
        let console = &context.console;
        let bundle = self.bundle.open(context, true)?;
        let signer = bundle.opened.signer().fingerprint();
        let manifest = bundle.opened.manifest();
        let missing = not_packed(&bundle);
        if console.json() {
            let mut rows = Vec::new();
            if self.files {
                list(&bundle, &mut |name, listed| rows.push(Row { component: name.to_string(), listed }))?;
            }
            let not_packed = missing.into_iter().collect();
            let document =
                Document { signer: &signer, manifest, not_packed, files: self.files.then_some(rows) };
            return Ok(console.data(&document, [])?);
        }
        console.data(&(), text::manifest(manifest, &signer, &missing))?;
        if self.files {
            // As they come: a list may be longer than memory is large.
            let mut page = Vec::with_capacity(PAGE);
            let mut written = Ok(());
            list(&bundle, &mut |name, listed| {
                page.push(text::listed(name.as_str(), &listed));
                if page.len() == PAGE && written.is_ok() {
                    written = console.data(&(), page.drain(..));
                }
            })?;
            written?;
            console.data(&(), page)?;
        }
        Ok(())
    }
}
