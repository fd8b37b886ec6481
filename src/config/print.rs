//! The settings in force as a configuration file that can be used as it is.

use std::fmt::Write as _;

use super::keys;
use super::load::{Loaded, Origin};
use super::units;

impl Loaded {
    /// The settings in force as a TOML file; a comment says where each came from. Secrets are left
    /// out. Paths are written as seen from the working directory.
    pub fn print(&self) -> String {
        let mut text = format!(
            "# phantom-frame {}: the settings in force, as seen from the working directory.\n\n[server]\n",
            env!("CARGO_PKG_VERSION"),
        );
        let mut settings = self.settings().clone();
        let mut group = "";
        for key in keys::keys() {
            if key.group() != group {
                group = key.group();
                let _ = writeln!(text, "\n# {group}");
            }
            let name = key.name();
            let origin = self.origin_of(name);
            let _ = match key.field.show(&mut settings) {
                Some(value) => writeln!(text, "{name} = {value}  # {origin}"),
                None if key.is_secret() && self.settings().control_auth.is_some() => {
                    let origin = match self.settings().control_auth_file {
                        Some(_) => "from control_auth_file".into(),
                        None => origin.to_string(),
                    };
                    writeln!(text, "# {name} = \"***\"  # {origin}")
                }
                None => writeln!(text, "# {name} is not set"),
            };
        }
        self.print_watch(&mut text);
        text
    }

    fn print_watch(&self, text: &mut String) {
        let base = &self.settings().base_dir;
        let origin = match self.origin_of("watch") {
            // One rule's line would be wrong for the others.
            Origin::File { path, .. } => path.display().to_string(),
            origin => origin.to_string(),
        };
        for rule in &self.settings().watch {
            let paths: Vec<_> = rule
                .paths
                .iter()
                .map(|path| base.join(path).to_string_lossy().into_owned())
                .collect();
            let _ = writeln!(
                text,
                "\n[[watch]]  # {origin}\npaths = {}\ninvalidate = {}\nsettle = {}",
                toml::Value::from(paths),
                toml::Value::from(rule.invalidate.clone()),
                toml::Value::from(units::duration_text(rule.settle)),
            );
        }
    }
}
