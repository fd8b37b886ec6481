//! The settings in force as a configuration file that can be used as it is.

use std::fmt::Write as _;

use super::keys;
use super::load::{Loaded, Origin};
use super::rule::Audience;
use super::server::ServerSettings;
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
                None if key.field.is_set_secret(&mut settings) => {
                    let origin = match &settings.control_auth_file {
                        Some(_) if name == "control_auth" => "from control_auth_file".into(),
                        _ => origin.to_string(),
                    };
                    writeln!(text, "# {name} = \"***\"  # {origin}")
                }
                None => writeln!(text, "# {name} is not set"),
            };
        }
        self.print_rules(&mut text);
        self.print_watch(&mut text);
        self.print_prerender(&mut text);
        text
    }

    /// With the values that stand in each; the others are as in `[server]`.
    fn print_rules(&self, text: &mut String) {
        let Some(file) = self.file() else { return };
        for section in &file.rules {
            let mut settings = ServerSettings {
                proxy: section.rule.applied_to(&self.settings().proxy),
                ..ServerSettings::default()
            };
            let place = file.source.place(section.header.clone());
            let (path, line) = (file.source.path().display(), place.line());
            let patterns = toml::Value::from(section.rule.patterns.clone());
            let _ = writeln!(text, "\n[[rule]]  # {path}:{line}\nmatch = {patterns}");
            if let Some(cache) = section.rule.cache {
                let _ = writeln!(text, "cache = {cache}");
            }
            if section.rule.audience == Audience::Everyone {
                let _ = writeln!(text, "public = true");
            }
            for (key, _) in &section.values {
                if let Some(value) = key.field.show(&mut settings) {
                    let _ = writeln!(text, "{} = {value}", key.name());
                }
            }
        }
    }

    fn print_prerender(&self, text: &mut String) {
        let Some(options) = &self.settings().prerender else {
            return;
        };
        let _ = writeln!(
            text,
            "\n[prerender]\npages = {}\nsitemaps = {}\ncrawl = {}\nscope = {}\nconcurrency = {}\nmax_rps = {}\n\
             max_pages = {}\nmax_depth = {}",
            toml::Value::from(options.pages.clone()),
            toml::Value::from(options.sitemaps.clone()),
            options.crawl,
            toml::Value::from(options.scope.as_str()),
            options.concurrency,
            options.max_rps,
            options.max_pages,
            options.max_depth,
        );
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
