//! Somebody with a browser: cookies are kept and sent back, redirects followed where that is asked for.

use std::collections::BTreeMap;

use super::client::{Client, Request, Response, get, post};

/// See the module. A clone has the same cookies and goes its own way.
#[derive(Clone)]
pub(crate) struct Visitor {
    pub(crate) name: &'static str,
    client: Client,
    host: String,
    jar: BTreeMap<String, String>,
    /// Said with each request, as a proxy in front of the backend would.
    scheme: Option<&'static str>,
}

impl Visitor {
    pub(crate) fn new(name: &'static str, client: Client) -> Self {
        Self {
            name,
            client,
            host: super::client::HOST.to_owned(),
            jar: BTreeMap::new(),
            scheme: None,
        }
    }

    /// Who asks for another host than the rig's own.
    pub(crate) fn at(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// The same person, with the cookies there are, at another server.
    pub(crate) fn moved_to(&self, client: Client) -> Self {
        Self {
            client,
            scheme: None,
            ..self.clone()
        }
    }

    /// Asks a backend without a proxy, which has to be told the scheme.
    pub(crate) fn says_the_scheme(&mut self) {
        self.scheme = Some("http");
    }

    #[must_use]
    pub(crate) fn with_cookie(mut self, name: &str, value: &str) -> Self {
        self.jar.insert(name.into(), value.into());
        self
    }

    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        self.jar.get(name).map(String::as_str)
    }

    pub(crate) async fn get(&mut self, target: &str) -> Response {
        let request = get(target).with("Sec-Fetch-Dest", "document");
        self.send(request).await
    }

    /// Sends a form, and goes where that leads.
    pub(crate) async fn submit(&mut self, target: &str, form: &str) -> Response {
        let answer = self.post(target, form).await;
        self.follow(answer).await
    }

    /// Sends a form.
    pub(crate) async fn post(&mut self, target: &str, form: &str) -> Response {
        let request = post(target, form)
            .with("Content-Type", "application/x-www-form-urlencoded")
            .with("Origin", &format!("http://{}", self.host));
        self.send(request).await
    }

    /// Opens an address, and goes where that leads.
    pub(crate) async fn open(&mut self, target: &str) -> Response {
        let answer = self.get(target).await;
        self.follow(answer).await
    }

    async fn follow(&mut self, mut answer: Response) -> Response {
        for _ in 0..5 {
            match answer.field("location").map(str::to_owned) {
                Some(location) if matches!(answer.status, 301..=303) => {
                    answer = self.get(&location).await;
                }
                _ => return answer,
            }
        }
        panic!("too many redirects for {}", self.name)
    }

    pub(crate) async fn send(&mut self, request: Request) -> Response {
        let mut request = request
            .host(&self.host)
            .with("Accept-Language", "de-AT, en;q=0.5")
            .with("User-Agent", "Mozilla/5.0 Firefox/140.0")
            .with("Accept-Encoding", "gzip, br");
        if !request.has("Accept") {
            request = request.with("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");
        }
        if let Some(scheme) = self.scheme {
            request = request.with("X-Forwarded-Proto", scheme);
        }
        if !self.jar.is_empty() {
            let cookies: Vec<_> = self
                .jar
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            request = request.with("Cookie", &cookies.join("; "));
        }
        let answer = self.client.send(request).await;
        for line in answer.fields.all("set-cookie") {
            self.keep(line);
        }
        answer
    }

    fn keep(&mut self, line: &str) {
        let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
        let Some((name, value)) = pair.split_once('=') else {
            return;
        };
        if attributes.contains("Max-Age=0") {
            self.jar.remove(name.trim());
        } else {
            self.jar.insert(name.trim().into(), value.trim().into());
        }
    }
}
