//! `export`

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use phantom_frame::export::Options;

use super::{Site, inspect, with_site};

const HELP: &str = "\
/blog/hello becomes blog/hello/index.html; /a.html and what is no HTML keep
their names. A stored /404.html, /404 or /404/ becomes 404.html. What is stored
as a redirect goes into _redirects, and fields that a file does not say into
_headers, in the form that Netlify and Cloudflare Pages read; other servers of
files need their own form of these two.

Left out, with the reason: what has a query; what is stored only for who sends
certain fields; a name that no file can have (an encoded slash, a name of 256
bytes, JSON under a path that ends in a slash); two pages with one place (/a and
/a/ with other bytes, names that differ in case only, a file that is a folder of
others); bodies in a content coding; what exclude_paths names; damaged bodies.
Of a page with variants the rendering for nobody in particular is taken.

Links of HTML and style sheets are followed, and said where they lead nowhere,
or to the backend by its own address. --rewrite-links has links to the site's
own addresses, aliases and backend begin at the root; what stands beside them
stays byte for byte. Canonical and alternate addresses of the site stay whole.

DIR is made if need be. .phantom-export/manifest.json in it has the hash of each
file that was written: what is the same is not written again and keeps its time,
and files of pages that are gone are removed. What is not as it was written was
changed by hand: it is left alone, and said. DIR may neither hold the snapshots
nor be among them, and needs --force if it has files and no manifest. With
--force files in the way are replaced. No link in DIR is followed.

--json: written, unchanged, removed, kept (file, why), redirects, not_found,
left_out (url, why, detail), several, dead (page, link), origin (page, link),
unread, empty.

Exit codes: 0 all well, also if pages with a query, another host's, variants or
what is excluded were left out; 1 a link leads nowhere or to the backend, a page
was lost, a file was in the way, something could not be read, or there is no
page at all, and then nothing is removed; 2 wrong usage or configuration, or a
folder that cannot be used.";

/// `export`
#[derive(Debug)]
pub(crate) struct Export {
    pub(crate) site: Site,
    pub(crate) options: Options,
}

pub(super) fn command() -> Command {
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let command = Command::new("export")
        .about("Write the snapshots as plain files, for any static host")
        .arg(
            Arg::new("dir")
                .value_name("DIR")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("Where the files go"),
        )
        .arg(switch(
            "rewrite-links",
            "Have links to the site and its backend begin at the root",
        ))
        .arg(switch("dry-run", "Say what would be done, and write nothing").short('n'))
        .arg(switch(
            "force",
            "Replace what is in the way, whoever has written it",
        ))
        .after_help(HELP);
    with_site(command)
}

pub(super) fn of(matches: &ArgMatches) -> Export {
    Export {
        site: inspect::site_of(matches),
        options: Options {
            dir: matches.get_one::<PathBuf>("dir").cloned().unwrap_or_default(),
            rewrites_links: matches.get_flag("rewrite-links"),
            is_dry: matches.get_flag("dry-run"),
            is_forced: matches.get_flag("force"),
        },
    }
}
