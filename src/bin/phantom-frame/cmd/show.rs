//! `phantom-frame show`

use std::process::ExitCode;

use anyhow::Context as _;
use phantom_frame::artefact::{Artefact, BodyState, Page};
use serde_json::{Value, json};

use super::ls::{freshness, row_as_json};
use crate::args::Shown;
use crate::output;
use crate::print::{Form, HEADING, Out, STRONG, plain, size, span};

pub(super) fn run(artefact: &Artefact, url: &str, what: Shown, form: Form) -> anyhow::Result<ExitCode> {
    let pages = artefact.show(url)?;
    let mut out = Out::new();
    match (what, form) {
        (Shown::Body, _) => body(&mut out, artefact, &pages)?,
        (Shown::Page, Form::Json) => {
            let pages: Vec<Value> = pages.iter().map(page_as_json).collect();
            out.json(&json!({ "pages": pages }));
        }
        (Shown::Page, Form::Text) => {
            for (at, page) in pages.iter().enumerate() {
                if at > 0 {
                    out.line(format_args!(""));
                }
                text(&mut out, page);
            }
        }
    }
    out.finish().context("cannot print the page")?;
    Ok(ExitCode::SUCCESS)
}

fn body(out: &mut Out, artefact: &Artefact, pages: &[Page]) -> anyhow::Result<()> {
    let plain_one = pages.iter().find(|page| page.row.variant.is_empty());
    let Some(page) = plain_one.or(pages.first()) else {
        return Ok(());
    };
    if page.body == BodyState::Changed {
        output::warn(&format!(
            "{} is not what its sidecar seals, and is not served as it is",
            plain(&page.row.file)
        ));
    }
    if pages.len() > 1 {
        output::note(&format!("one of {} renderings", pages.len()));
    }
    out.raw(&artefact.body(page)?);
    Ok(())
}

fn text(out: &mut Out, page: &Page) {
    let row = &page.row;
    out.line(format_args!("{STRONG}{}{STRONG:#}", plain(&row.page())));
    let mut field = |name: &str, value: &str| {
        out.line(format_args!("  {HEADING}{name:<9}{HEADING:#} {}", plain(value)));
    };
    field("status", &row.status.to_string());
    field("state", &state(page));
    field("rule", &row.rule);
    let parts = row.parts.iter().map(|(name, value)| format!("  {name}: {value}"));
    field("key", &(row.line.clone() + &parts.collect::<String>()));
    if !page.varies_by.is_empty() {
        let values = row.variant.iter().map(|(name, value)| format!("{name}: {value}"));
        let values = values.collect::<Vec<_>>().join(", ");
        let own = if values.is_empty() {
            "none of the fields"
        } else {
            &values
        };
        field(
            "variant",
            &format!("{own}  (varies by {})", page.varies_by.join(", ")),
        );
    }
    if let Some(site) = &page.site {
        field("site", site);
    }
    if !row.tags.is_empty() {
        field("tags", &row.tags.join(", "));
    }
    field("sidecar", &page.sidecar);
    match page.body {
        BodyState::None => field("body", "none"),
        _ => field(
            "body",
            &format!("{}  {}, {}", row.file, size(row.bytes), said_of(page.body)),
        ),
    }
    if let Some(seal) = &page.seal {
        field("seal", seal);
    }
    for form in &page.forms {
        field(form.coding, &format!("{}  {}", form.file, size(form.bytes)));
    }
    out.line(format_args!(""));
    for (name, value) in &page.headers {
        out.line(format_args!(
            "  {HEADING}{}:{HEADING:#} {}",
            plain(name),
            plain(value)
        ));
    }
}

fn state(page: &Page) -> String {
    let judged = &page.row.freshness;
    let lifetime = match judged.lifetime {
        Some(seconds) => format!("{} by {}", span(seconds), judged.given_by),
        None => format!("until it is invalidated, by {}", judged.given_by),
    };
    let age = match (&page.generated, judged.age) {
        (Some(date), Some(age)) => format!("generated {date}, {} ago", span(age)),
        _ => "another program set its time".to_owned(),
    };
    let down = match judged.serves_when_down {
        true => "",
        false => "; not served when the backend is down",
    };
    format!("{}; lives {lifetime}; {age}{down}", freshness(judged))
}

fn said_of(body: BodyState) -> &'static str {
    match body {
        BodyState::Sealed => "as it was sealed",
        BodyState::Changed => "CHANGED since it was sealed: not served (`reseal` accepts it)",
        BodyState::Missing => "MISSING",
        _ => "UNREADABLE",
    }
}

fn page_as_json(page: &Page) -> Value {
    let mut all = row_as_json(&page.row);
    let forms = page.forms.iter();
    let forms = forms.map(|form| json!({ "coding": form.coding, "bytes": form.bytes, "file": form.file }));
    let more = json!({
        "key": page.key,
        "url": page.url,
        "site": page.site,
        "varies_by": page.varies_by,
        "headers": page.headers,
        "sidecar": page.sidecar,
        "seal": page.seal,
        "body": page.body.as_str(),
        "forms": forms.collect::<Vec<_>>(),
    });
    if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
        all.extend(more);
    }
    all
}
