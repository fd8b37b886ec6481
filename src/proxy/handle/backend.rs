//! The backends that settings name.

use axum::Router;

use crate::config::{CreateProxyConfig, check};
use crate::error::Error;
use crate::upstream::{Upstream, UpstreamOptions, Waits};

/// The backend of the settings; where they say that none is asked, one that there is not.
///
/// # Errors
/// A `proxy_url` or `backend_ca` that cannot work.
pub(crate) fn http_backend(config: &CreateProxyConfig) -> Result<Upstream, Error> {
    let settings = &config.settings;
    if settings.frozen {
        return Ok(in_process_backend(Router::new(), config));
    }
    Upstream::http(UpstreamOptions {
        base: check::backend_url(&settings.proxy_url)?,
        connect_timeout: settings.connect_timeout,
        response_timeout: settings.response_timeout,
        body_timeout: settings.body_timeout,
        ca_file: settings.backend_ca.clone(),
    })
}

/// A router of this process as the backend.
pub(crate) fn in_process_backend(router: Router, config: &CreateProxyConfig) -> Upstream {
    Upstream::in_process(
        router,
        Waits {
            response: config.settings.response_timeout,
            body: config.settings.body_timeout,
        },
    )
}
