//! `include_paths` and `exclude_paths`.

use crate::outcome::Reason;
use crate::pattern::PathPattern;

/// The path filters, compiled.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filters {
    pub(crate) include: Vec<PathPattern>,
    pub(crate) exclude: Vec<PathPattern>,
}

/// That a path may be looked up, and on whose word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Included {
    /// No filter speaks of it.
    ByDefault,
    /// `include_paths` names it.
    ByPattern,
}

impl Filters {
    /// The pattern that decides, and the setting that has it; nothing where none does.
    pub(crate) fn deciding(&self, method: &str, path: &str) -> Option<(&'static str, &PathPattern)> {
        let is_match = |pattern: &&PathPattern| pattern.is_match(method, path);
        let excluding = self.exclude.iter().find(is_match);
        let including = || {
            self.include
                .iter()
                .find(is_match)
                .map(|pattern| ("include_paths", pattern))
        };
        excluding
            .map(|pattern| ("exclude_paths", pattern))
            .or_else(including)
    }

    /// Exclude beats include; an empty include means all GET and HEAD. Other methods only if a pattern
    /// says them.
    pub(crate) fn judge(&self, method: &str, path: &str) -> Result<Included, Reason> {
        let is_read = matches!(method, "GET" | "HEAD");
        let mut matching = self
            .include
            .iter()
            .filter(|pattern| pattern.is_match(method, path));
        let included = matching.next().is_some();
        if !included && !is_read {
            return Err(Reason::Method);
        }
        if self.exclude.iter().any(|pattern| pattern.is_match(method, path)) {
            return Err(Reason::Excluded);
        }
        match (included, self.include.is_empty()) {
            (true, _) => Ok(Included::ByPattern),
            (false, true) => Ok(Included::ByDefault),
            (false, false) => Err(Reason::NotIncluded),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(include: &[&str], exclude: &[&str]) -> Filters {
        let parse = |patterns: &[&str]| {
            patterns
                .iter()
                .map(|text| PathPattern::parse(text).unwrap())
                .collect()
        };
        Filters {
            include: parse(include),
            exclude: parse(exclude),
        }
    }

    #[test]
    fn the_examples_of_the_documentation() {
        let mixed = filters(
            &["/api/*", "GET /admin/stats"],
            &["POST /api/*", "PUT /api/*", "/api/*/private"],
        );
        let reads_only = filters(&["GET *"], &["GET /api/admin/*"]);
        let no_writes = filters(&[], &["POST *", "PUT *", "DELETE *", "PATCH *"]);
        for (filters, method, path, expected) in [
            (&mixed, "GET", "/api/users", Ok(Included::ByPattern)),
            (&mixed, "GET", "/admin/stats", Ok(Included::ByPattern)),
            (&mixed, "GET", "/api/7/private", Err(Reason::Excluded)),
            (&mixed, "GET", "/other", Err(Reason::NotIncluded)),
            (&mixed, "POST", "/api/users", Err(Reason::Method)),
            (&reads_only, "GET", "/x", Ok(Included::ByPattern)),
            (&reads_only, "GET", "/api/admin/x", Err(Reason::Excluded)),
            (&reads_only, "POST", "/x", Err(Reason::Method)),
            (&no_writes, "HEAD", "/x", Ok(Included::ByDefault)),
            (&no_writes, "DELETE", "/x", Err(Reason::Method)),
        ] {
            assert_eq!(filters.judge(method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn another_method_only_when_a_pattern_says_it() {
        let search = filters(&["POST /search"], &[]);
        assert_eq!(search.judge("POST", "/search"), Ok(Included::ByPattern));
        assert_eq!(search.judge("POST", "/other"), Err(Reason::Method));
        assert_eq!(search.judge("GET", "/search"), Err(Reason::NotIncluded));
        assert_eq!(
            filters(&["/search"], &[]).judge("POST", "/search"),
            Err(Reason::Method)
        );
    }
}
