//! What was found, as a page that needs nothing beside itself.

use std::fmt::Write as _;

use super::{Found, millis, remarks};
use crate::print::{plain, size};

/// No script, nothing that is loaded, and nothing of the site's but text.
const HEAD: &str = "<!doctype html>
<html lang=\"en\"><meta charset=\"utf-8\">
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">
<meta name=\"viewport\" content=\"width=device-width\">
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; color: #222; background: #fff }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .3em .8em .3em 0; border-bottom: 1px solid #ddd; vertical-align: top; overflow-wrap: anywhere }
td.number, th.number { text-align: right; white-space: nowrap }
pre { background: #f4f4f4; padding: 1em; overflow: auto }
.stored { color: #17692b } .failed { color: #b3261e } .not-stored, .missing { color: #8a5300 }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #181818 } pre { background: #262626 } th, td { border-color: #444 }
  .stored { color: #7fd394 } .failed { color: #ff8a80 } .not-stored, .missing { color: #ffc069 }
}
</style>
";

pub(super) fn html(found: &Found<'_>) -> String {
    let mut html = String::from(HEAD);
    let url = escaped(found.url);
    // Writing to a String cannot fail.
    let _ = write!(
        html,
        "<title>{url}</title>\n<h1>{url}</h1>\n<p><strong>{}</strong></p>\n",
        escaped(&found.sums())
    );
    pages(&mut html, found);
    reasons(&mut html, found);
    warnings(&mut html, found);
    let _ = write!(
        html,
        "<h2>To begin</h2>\n<pre>{}</pre>\n<p>or, with this as <code>config.toml</code>, \
         <code>phantom-frame config.toml</code></p>\n<pre>{}</pre>\n</html>\n",
        escaped(&found.advice.command.join(" ")),
        found
            .advice
            .config
            .lines()
            .map(escaped)
            .collect::<Vec<_>>()
            .join("\n"),
    );
    html
}

fn pages(html: &mut String, found: &Found<'_>) {
    html.push_str(
        "<table>\n<tr><th><th class=\"number\">Status<th class=\"number\">Size<th class=\"number\">Time<th>Page<th>\n",
    );
    for page in &found.pages {
        let word = page.verdict.as_str();
        let status = page.status.map_or("–".into(), |status| status.to_string());
        let _ = writeln!(
            html,
            "<tr><td class=\"{word}\">{word}<td class=\"number\">{status}<td class=\"number\">{}<td class=\"number\">{} ms\
             <td>{}<td>{}",
            size(page.bytes),
            millis(page.took),
            escaped(&page.page),
            escaped(&remarks(page)),
        );
    }
    html.push_str("</table>\n");
}

fn reasons(html: &mut String, found: &Found<'_>) {
    let reasons = found.reasons();
    if !reasons.is_empty() {
        html.push_str("<h2>Why pages are not stored</h2>\n<dl>\n");
        for (word, reason) in reasons {
            let _ = writeln!(html, "<dt><code>{word}</code><dd>{}", escaped(reason.advice()));
        }
        html.push_str("</dl>\n");
    }
}

fn warnings(html: &mut String, found: &Found<'_>) {
    if !found.advice.warnings.is_empty() {
        html.push_str("<h2>To know</h2>\n<ul>\n");
        for warning in &found.advice.warnings {
            let pages: Vec<_> = warning.pages.iter().map(|page| escaped(page)).collect();
            let _ = writeln!(
                html,
                "<li><strong>{}</strong>: {}<br>{}",
                warning.kind,
                escaped(&warning.text),
                pages.join(" ")
            );
        }
        html.push_str("</ul>\n");
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in plain(text).chars() {
        match char {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            char => out.push(char),
        }
    }
    out
}
