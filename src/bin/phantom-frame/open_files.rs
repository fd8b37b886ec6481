//! The limit on open files, against the connections that are to be served.
//!
//! A connection takes a descriptor, and while it passes, tunnels or reads a body, another one. Without any left a
//! server does not only stop accepting: it cannot open the page that it has, nor reach the backend. So what there
//! are descriptors for is made sure of at the start.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For the directory, the watcher, the control server, fills and what the runtime holds.
const OWN: u64 = 256;

/// Raises the limit, as far as it may be, to what `max_connections` need in the worst case. Returns how many can
/// be served at once; says so when these are fewer.
pub(crate) fn make_room(max_connections: usize) -> usize {
    let before = getrlimit(Resource::Nofile);
    let limit = raised(before, max_connections);
    if limit != before
        && let Err(error) = setrlimit(Resource::Nofile, limit)
    {
        tracing::debug!(%error, "the limit on open files cannot be raised");
    }
    // What is in force, whatever was asked for.
    let open_files = getrlimit(Resource::Nofile).current;
    let fit = fitting(max_connections, open_files);
    if fit < max_connections {
        tracing::warn!(
            "the limit on open files is {}: {fit} connections are served at once instead of {max_connections} \
             (`max_connections`), others wait; raise it (`ulimit -n`, LimitNOFILE=) to {}",
            open_files.unwrap_or(u64::MAX),
            worst_case(max_connections)
        );
    }
    fit
}

/// Two descriptors for each connection.
fn worst_case(max_connections: usize) -> u64 {
    (max_connections as u64).saturating_mul(2).saturating_add(OWN)
}

/// `before` with the soft limit lifted to what is needed; the hard one is the administrator's.
fn raised(before: Rlimit, max_connections: usize) -> Rlimit {
    let allowed = before.maximum.unwrap_or(u64::MAX);
    let wanted = worst_case(max_connections).min(allowed);
    Rlimit {
        current: before.current.map(|current| current.max(wanted)),
        maximum: before.maximum,
    }
}

/// How many of `max_connections` there are descriptors for: where two for each cannot be had, a quarter is kept
/// for those that need a second one.
fn fitting(max_connections: usize, open_files: Option<u64>) -> usize {
    match open_files {
        Some(limit) if limit < worst_case(max_connections) => {
            let shared = limit.saturating_sub(OWN.min(limit / 4)) / 4 * 3;
            usize::try_from(shared).map_or(max_connections, |shared| shared.clamp(1, max_connections.max(1)))
        }
        _ => max_connections,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_rises_to_what_is_needed_and_the_hard_one_stays() {
        let table = [
            // soft, hard, max_connections, soft then
            (Some(1024), Some(1 << 20), 10_000, Some(20_256)),
            (Some(1024), None, 10_000, Some(20_256)),
            (Some(1024), Some(4096), 10_000, Some(4096)),
            (Some(65_536), Some(1 << 20), 10_000, Some(65_536)),
            (None, None, 10_000, None),
            (Some(1024), Some(1 << 20), usize::MAX, Some(1 << 20)),
        ];
        for (current, maximum, max_connections, then) in table {
            let limit = raised(Rlimit { current, maximum }, max_connections);
            assert_eq!((limit.current, limit.maximum), (then, maximum), "{current:?}");
        }
    }

    #[test]
    fn no_more_connections_are_served_than_there_are_descriptors_for() {
        let table = [
            (10_000, None, 10_000),
            (10_000, Some(20_256), 10_000),
            (10_000, Some(20_255), 10_000),
            (10_000, Some(4096), 2880),
            (10_000, Some(256), 144),
            (10_000, Some(0), 1),
            (100, Some(1024), 100),
            (usize::MAX, Some(1024), 576),
        ];
        for (max_connections, open_files, fit) in table {
            assert_eq!(
                fitting(max_connections, open_files),
                fit,
                "{max_connections} {open_files:?}"
            );
        }
    }
}
