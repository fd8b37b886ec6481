//! What is known of frameworks: how a project shows which one it has, and what a configuration for it says.

use std::fs;
use std::io;
use std::path::Path;

use crate::output;
use crate::print::plain;

/// A framework whose defaults are known.
#[derive(Debug)]
pub(crate) struct Framework {
    pub(crate) name: &'static str,
    title: &'static str,
    /// Where it listens.
    backend: u16,
    /// Where visitors come in.
    pub(crate) port: u16,
    sign: Sign,
    /// What is particular to it, from the middle of `[server]` on.
    particular: &'static str,
}

/// How a project shows that it has a framework.
#[derive(Debug, Clone, Copy)]
enum Sign {
    NodePackage(&'static str),
    Gem(&'static str),
    Script(&'static str),
    Crate(&'static str),
    Nothing,
}

/// A framework that a project shows, and where it does.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) framework: &'static Framework,
    pub(crate) file: &'static str,
}

/// In the order in which they are looked for: what is built on something else comes before it.
pub(crate) const FRAMEWORKS: &[Framework] = &[
    Framework {
        name: "next",
        title: "Next.js",
        backend: 3000,
        port: 8080,
        sign: Sign::NodePackage("next"),
        particular: include_str!("cmd/init/next.toml"),
    },
    Framework {
        name: "nuxt",
        title: "Nuxt",
        backend: 3000,
        port: 8080,
        sign: Sign::NodePackage("nuxt"),
        particular: include_str!("cmd/init/nuxt.toml"),
    },
    Framework {
        name: "sveltekit",
        title: "SvelteKit",
        backend: 3000,
        port: 8080,
        sign: Sign::NodePackage("@sveltejs/kit"),
        particular: include_str!("cmd/init/sveltekit.toml"),
    },
    Framework {
        name: "astro",
        title: "Astro",
        backend: 4321,
        port: 3000,
        sign: Sign::NodePackage("astro"),
        particular: include_str!("cmd/init/astro.toml"),
    },
    Framework {
        name: "rails",
        title: "Rails",
        backend: 3000,
        port: 8080,
        sign: Sign::Gem("rails"),
        particular: include_str!("cmd/init/rails.toml"),
    },
    Framework {
        name: "django",
        title: "Django",
        backend: 8000,
        port: 3000,
        sign: Sign::Script("manage.py"),
        particular: include_str!("cmd/init/django.toml"),
    },
    Framework {
        name: "axum",
        title: "axum",
        backend: 3000,
        port: 8080,
        sign: Sign::Crate("axum"),
        particular: include_str!("cmd/init/axum.toml"),
    },
    PLAIN,
];

/// For what is none of the others.
pub(crate) const PLAIN: Framework = Framework {
    name: "plain",
    title: "any backend",
    backend: 8080,
    port: 3000,
    sign: Sign::Nothing,
    particular: include_str!("cmd/init/plain.toml"),
};

impl Framework {
    pub(crate) fn title(&self) -> &'static str {
        self.title
    }

    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        FRAMEWORKS.iter().find(|framework| framework.name == name)
    }

    pub(crate) fn backend(&self) -> String {
        format!("http://localhost:{}", self.backend)
    }

    /// The configuration file for it.
    pub(crate) fn config(&self) -> String {
        let by_default = match self.sign {
            Sign::Nothing => ": http:// or https://".to_owned(),
            _ => format!("; by default, {} listens here", self.title),
        };
        format!(
            r#"# phantom-frame in front of {title}. Every key and its default: phantom-frame --print-config

[server]

# The backend whose pages are served{by_default}.
proxy_url = "{backend}"
# The port that visitors use.
proxy_port = {port}
# The address under which visitors see the site. Set it before the site is public: without it, each host that is asked
# for has pages of its own.
#public_url = "https://example.com"
# The directory of the snapshots. It is yours: read it, diff it, commit it, delete from it.
snapshot_dir = "snapshots"

# A request with a cookie that is not known passes, as it may be somebody's. Cookies that no page reads:
#ignore_cookies = ["seen_banner"]
# Cookies that make another page, the same for everyone who has that value:
#key_cookies = ["theme"]

{particular}"#,
            title = self.title,
            backend = self.backend(),
            port = self.port,
            particular = self.particular,
        )
    }
}

/// The frameworks that the project in `dir` shows; what cannot be read is said and shows nothing.
pub(crate) fn find(dir: &Path) -> Vec<Found> {
    let package = parsed(dir, "package.json", |text| {
        serde_json::from_str(text).map_err(|error| error.to_string())
    });
    let gems = read(dir, "Gemfile").unwrap_or_default();
    let manifest = parsed(dir, "Cargo.toml", |text| {
        text.parse()
            .map_err(|error: toml::de::Error| error.message().to_owned())
    });
    let shows = |sign| match sign {
        Sign::NodePackage(name) => has_package(&package, name).then_some("package.json"),
        Sign::Gem(name) => has_gem(&gems, name).then_some("Gemfile"),
        Sign::Crate(name) => has_crate(&manifest, name).then_some("Cargo.toml"),
        Sign::Script(name) => read(dir, name)
            .is_some_and(|text| text.contains("django"))
            .then_some(name),
        Sign::Nothing => None,
    };
    FRAMEWORKS
        .iter()
        .filter_map(|framework| shows(framework.sign).map(|file| Found { framework, file }))
        .collect()
}

fn read(dir: &Path, name: &str) -> Option<String> {
    match fs::read_to_string(dir.join(name)) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            passed_over(dir, name, &error.to_string());
            None
        }
    }
}

/// What a file says; nothing where there is none, or none that can be understood.
fn parsed<T: Default>(dir: &Path, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> T {
    let Some(text) = read(dir, name) else {
        return T::default();
    };
    parse(&text).unwrap_or_else(|error| {
        passed_over(dir, name, &error);
        T::default()
    })
}

fn passed_over(dir: &Path, name: &str, error: &str) {
    let path = plain(&dir.join(name).to_string_lossy());
    output::warn(&format!("passed over {path}, which cannot be read: {error}"));
}

fn has_package(package: &serde_json::Value, name: &str) -> bool {
    ["dependencies", "devDependencies"]
        .iter()
        .any(|list| package.get(list).and_then(|list| list.get(name)).is_some())
}

fn has_gem(gemfile: &str, name: &str) -> bool {
    gemfile.lines().any(|line| {
        let gem = line.trim_start().strip_prefix("gem").unwrap_or_default();
        let gem = gem.trim_start().trim_start_matches('(');
        ['"', '\''].iter().any(|quote| {
            let rest = gem.strip_prefix(*quote).and_then(|gem| gem.strip_prefix(name));
            rest.is_some_and(|rest| rest.starts_with(*quote))
        })
    })
}

fn has_crate(manifest: &toml::Table, name: &str) -> bool {
    let lists = [
        manifest.get("dependencies"),
        manifest.get("workspace").and_then(|all| all.get("dependencies")),
    ];
    lists.into_iter().flatten().any(|list| list.get(name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<&'static str> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        find(dir.path())
            .iter()
            .map(|found| found.framework.name)
            .collect()
    }

    #[test]
    fn a_project_shows_its_framework() {
        let cases: &[(&str, &str, &[&str])] = &[
            ("package.json", r#"{"dependencies": {"next": "16"}}"#, &["next"]),
            (
                "package.json",
                r#"{"devDependencies": {"nuxt": "^4"}}"#,
                &["nuxt"],
            ),
            (
                "package.json",
                r#"{"devDependencies": {"@sveltejs/kit": "3"}}"#,
                &["sveltekit"],
            ),
            ("package.json", r#"{"dependencies": {"astro": "7"}}"#, &["astro"]),
            ("package.json", r#"{"dependencies": {"next-auth": "5"}}"#, &[]),
            (
                "package.json",
                r#"{"name": "next", "scripts": {"next": "x"}}"#,
                &[],
            ),
            ("package.json", "{", &[]),
            ("Gemfile", "source \"x\"\n  gem 'rails', '~> 8'\n", &["rails"]),
            ("Gemfile", "gem(\"rails\")\n", &["rails"]),
            ("Gemfile", "# gem \"rails\"\ngem \"rails-html-sanitizer\"\n", &[]),
            ("manage.py", "from django.core.management import x\n", &["django"]),
            ("manage.py", "print('mine')\n", &[]),
            ("Cargo.toml", "[dependencies]\naxum = \"0.8\"\n", &["axum"]),
            (
                "Cargo.toml",
                "[workspace.dependencies.axum]\nversion = \"0.8\"\n",
                &["axum"],
            ),
            ("Cargo.toml", "[dependencies]\naxum-extra = \"0.12\"\n", &[]),
        ];
        for (name, text, expected) in cases {
            assert_eq!(found(&[(name, text)]), *expected, "{name}: {text}");
        }
        let both = [
            ("manage.py", "import django"),
            ("package.json", r#"{"dependencies": {"astro": "7"}}"#),
        ];
        assert_eq!(found(&both), ["astro", "django"]);
    }
}
