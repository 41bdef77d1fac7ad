//! What a monitor reads: the text format of Prometheus, for node_exporter's textfile collector.

use crate::base::fsx;
use std::fmt::Write;
use std::io;
use std::path::Path;

/// How the last export of a profile went.
#[derive(Debug)]
pub struct Metrics<'a> {
    /// The profile's name.
    pub profile: &'a str,
    /// When it ended: Unix time in seconds.
    pub ended: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Its exit code.
    pub code: u8,
    /// When the last one that worked was made, if one did.
    pub last_success: Option<u64>,
    /// Bytes of that one's bundle, if it is a file.
    pub size: Option<u64>,
}

impl Metrics<'_> {
    /// Puts them into `file`, whole or not at all, for everybody to read.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        fsx::write_atomic(file, 0o644, self.text().as_bytes())
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut gauge = |name: &str, help: &str, value: Option<String>| {
            let Some(value) = value else { return };
            // The name of a profile has no character that would need an escape. Writing to a string does not fail.
            let _ = write!(
                text,
                "# HELP kbpack_export_{name} {help}\n# TYPE kbpack_export_{name} gauge\nkbpack_export_{name}{{profile=\"{}\"}} {value}\n",
                self.profile
            );
        };
        gauge("last_run_timestamp_seconds", "When the last export ended.", Some(self.ended.to_string()));
        gauge(
            "last_run_exit_code",
            "Exit code of the last export; 0 is success.",
            Some(self.code.to_string()),
        );
        gauge(
            "last_run_duration_seconds",
            "How long the last export took.",
            Some(format!("{:.3}", self.seconds)),
        );
        let last_success = self.last_success.map(|time| time.to_string());
        gauge("last_success_timestamp_seconds", "When the last export that worked was made.", last_success);
        gauge("last_success_bytes", "Size of its bundle.", self.size.map(|size| size.to_string()));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_there() {
        let metrics =
            Metrics { profile: "p", ended: 7, seconds: 1.5, code: 8, last_success: None, size: None };
        let text = metrics.text();
        assert!(text.contains("\nkbpack_export_last_run_exit_code{profile=\"p\"} 8\n"), "{text}");
        assert!(text.contains("_duration_seconds{profile=\"p\"} 1.500\n") && !text.contains("success{"));
        assert!(Metrics { size: Some(3), ..metrics }
            .text()
            .ends_with("last_success_bytes{profile=\"p\"} 3\n"));
    }
}
