//! `phantom-frame accept [PATTERN]`

use std::sync::Arc;

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use phantom_frame::artefact::Artefact;
use phantom_frame::compare::{Accepted, Event, Standing, accept};
use phantom_frame::config::Loaded;
use serde_json::{Value, json};

use super::Ended;
use super::compare::{Progress, as_json, blamed, name, options, remark, rest, sums, warn_of};
use crate::args::Pages;
use crate::print::{Form, Out, STRONG};
use crate::server;

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

pub(super) async fn run(
    loaded: &Loaded,
    artefact: &Arc<Artefact>,
    pages: &Pages,
    form: Form,
) -> anyhow::Result<Ended> {
    let config = loaded.settings().proxy_config();
    let options = options(pages);
    let (progress, mut out, mut failed) = (Progress::new(), Out::new(), 0);
    let server = server::find(loaded).await;
    let summary = accept(
        &config,
        (artefact, server.as_ref()),
        &options,
        |event| match event {
            Event::Done(one, done, known) => {
                failed += u64::from(one.is_failure());
                progress.done(&one.page.page, (done, known), || match form {
                    Form::Json => out.item("pages", &whole(one)),
                    Form::Text if one.page.standing == Standing::Same => {}
                    Form::Text => out.line(format_args!("{}", line(one))),
                });
            }
            Event::Waiting(wait) => progress.waiting(wait),
            _ => {}
        },
    );
    let summary = summary.await;
    progress.end();
    let summary = summary.map_err(blamed(loaded))?;
    match form {
        Form::Json => out.rest("pages", &rest(&summary)),
        Form::Text => out.line(format_args!("{STRONG}{}{STRONG:#}", sums(&summary))),
    }
    out.finish().context("cannot print what was accepted")?;
    warn_of(&summary.unread);
    server.iter().for_each(server::note);
    Ok(match failed == 0 && summary.unread.is_empty() {
        true => Ended::AsAsked,
        false => Ended::WithFailures,
    })
}

fn line(one: &Accepted) -> String {
    let style = if one.is_failure() { BAD } else { GOOD };
    let word = match (one.page.standing, one.is_failure()) {
        (Standing::Left(_), _) => "left",
        (_, true) => "failed",
        (Standing::Gone | Standing::NotStored(_), _) => "removed",
        _ => "accepted",
    };
    let why = match (one.is_failure(), one.became) {
        (true, Some(became)) => format!("  (it became {})", became.as_str()),
        _ => String::new(),
    };
    format!(
        "{style}{word:<10}{style:#}  {}{}{why}",
        name(&one.page),
        remark(&one.page)
    )
}

fn whole(one: &Accepted) -> Value {
    let mut all = as_json(&one.page);
    if let Value::Object(all) = &mut all {
        all.insert("became".into(), json!(one.became.map(|became| became.as_str())));
    }
    all
}
