//! Calls a running hub, like any other client of its API.

use std::time::Duration;

use anyhow::Context;
use reqwest::header::{ACCEPT, HeaderMap};
use reqwest::{Method, RequestBuilder, Response, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tidings::access::KEY_FILE;
use tidings::config::{Config, Sources};

use super::SettingsArguments;
use super::failure::Failure;

/// Where the hub is, unless TIDINGS_URL says otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:8080";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The hub says something at least this often on a stream, if only a comment; twice as long a silence is a dead connection.
const STREAM_SILENCE_MAX: Duration = Duration::from_mins(1);
/// The longest page of events, with all their payloads, is well below.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A hub that can be called.
pub(super) struct HubClient {
    http: reqwest::Client,
    url: String,
    key: SecretString,
}

impl HubClient {
    /// Finds address and key of the hub; calls nobody yet.
    pub(super) fn find(settings: &SettingsArguments) -> Result<Self, Failure> {
        let sources = settings.sources()?;
        let url = sources.variable("TIDINGS_URL").unwrap_or(DEFAULT_URL).to_owned();
        let key = find_key(sources)?;
        Self::at(&url, key)
    }

    /// The hub at an address, which is not called yet.
    pub(super) fn at(url: &str, key: SecretString) -> Result<Self, Failure> {
        let wrong = || Failure::Usage(format!("TIDINGS_URL: {url:?} is not an address such as {DEFAULT_URL}"));
        let parsed = Url::parse(url).ok().filter(Url::has_host).ok_or_else(wrong)?;
        let builder = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT);
        let builder = match parsed.scheme() {
            "https" => builder.https_only(true),
            // A hub without TLS is on this machine or beside it: no proxy stands before it, and no certificate authorities are needed.
            "http" => builder.no_proxy().tls_certs_only([]),
            _ => return Err(wrong()),
        };
        // The key goes to the hub and to nobody whom it names.
        let http = builder
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("the HTTP client cannot be set up")?;
        Ok(Self {
            http,
            url: parsed.as_str().trim_end_matches('/').to_owned(),
            key,
        })
    }

    /// Asks for something.
    pub(super) async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, Failure> {
        self.answer(self.request(Method::GET, path).query(query).timeout(ANSWER_TIMEOUT))
            .await
    }

    /// Has something done.
    pub(super) async fn post(&self, path: &str, headers: HeaderMap, body: &Value) -> Result<Value, Failure> {
        self.answer(
            self.request(Method::POST, path)
                .headers(headers)
                .json(body)
                .timeout(ANSWER_TIMEOUT),
        )
        .await
    }

    /// Has something set, changed or removed.
    pub(super) async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.request(method, path).timeout(ANSWER_TIMEOUT);
        let request = if body.is_null() { request } else { request.json(body) };
        self.answer(request).await
    }

    /// Opens the live stream, after the event with this id if there is one.
    pub(super) async fn stream(
        &self,
        path: &str,
        query: &[(&str, String)],
        last_event_id: Option<&str>,
    ) -> Result<LiveResponse, Failure> {
        let mut request = self
            .request(Method::GET, path)
            .query(query)
            .header(ACCEPT, "text/event-stream");
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        // The time limit of other calls is on the whole answer; this one has no end.
        let sent = tokio::time::timeout(ANSWER_TIMEOUT, request.send()).await;
        let response = sent
            .map_err(|_| self.unreachable("does not answer"))?
            .map_err(|error| self.no_answer(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(LiveResponse(response));
        }
        let body = self.read(response).await?;
        Err(Failure::refused(status.as_u16(), &String::from_utf8_lossy(&body)))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(self.key.expose_secret())
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let response = request.send().await.map_err(|error| self.no_answer(&error))?;
        let status = response.status();
        let body = self.read(response).await?;
        if !status.is_success() {
            return Err(Failure::refused(status.as_u16(), &String::from_utf8_lossy(&body)));
        }
        if body.is_empty() {
            return Ok(Value::Null);
        }
        let value = serde_json::from_slice(&body)
            .with_context(|| format!("{} answered something that is not JSON", self.url))?;
        Ok(value)
    }

    async fn read(&self, mut response: Response) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.no_answer(&error))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(anyhow::anyhow!("{} answered with more than {ANSWER_BYTES_MAX} bytes", self.url).into());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn no_answer(&self, error: &reqwest::Error) -> Failure {
        if error.is_builder() {
            return Failure::Usage(
                "TIDINGS_ADMIN_KEY cannot stand in a header: it has signs that are not ASCII".to_owned(),
            );
        }
        self.unreachable(if error.is_connect() {
            "cannot be reached"
        } else if error.is_timeout() {
            "does not answer"
        } else {
            "broke off the connection"
        })
    }

    fn unreachable(&self, what: &str) -> Failure {
        Failure::Unreachable {
            url: self.url.clone(),
            what: what.to_owned(),
        }
    }
}

/// A name that stands in an address: what cannot be one is refused here, so that it cannot lead elsewhere.
pub(super) fn name_in_path<'n>(what: &str, name: &'n str) -> Result<&'n str, Failure> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !name.is_empty() && name.bytes().all(is_fit) && name.bytes().any(|byte| byte != b'.') {
        Ok(name)
    } else {
        Err(Failure::Usage(format!(
            "{name:?} is not {what}: it has letters, digits, - _ and . alone"
        )))
    }
}

/// The body of a live stream.
pub(super) struct LiveResponse(Response);

impl LiveResponse {
    /// What came next; `None` once the connection has ended, for whatever reason, or is dead.
    pub(super) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let chunk = tokio::time::timeout(STREAM_SILENCE_MAX, self.0.chunk()).await;
        chunk.ok()?.ok()?.map(|chunk| chunk.to_vec())
    }
}

/// The key of the settings, or the one that the hub left in its data folder.
fn find_key(sources: Sources) -> Result<SecretString, Failure> {
    let config = Config::load(sources)?.config;
    if let Some(key) = config.admin_key {
        return Ok(key);
    }
    let path = config.data_dir.join(KEY_FILE);
    match std::fs::read_to_string(&path) {
        Ok(key) => Ok(SecretString::from(key.trim())),
        Err(error) => Err(Failure::Usage(format!(
            "no key for the hub: TIDINGS_ADMIN_KEY is not set, and {} cannot be read ({error}); set TIDINGS_ADMIN_KEY to a key of the hub, \
             or TIDINGS_DATA_DIR to its data folder",
            path.display()
        ))),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::future::Future;
    use std::net::Ipv4Addr;

    use axum::Router;
    use axum::extract::Request;
    use axum::http::StatusCode;
    use axum::response::IntoResponse;
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;

    /// Asks a hub of the test's own, which answers by `respond`, until `ask` is done.
    pub(in crate::cli) async fn with_hub<F, R, T>(respond: F, ask: impl AsyncFnOnce(HubClient) -> T) -> T
    where
        F: Fn(Request) -> R + Clone + Send + Sync + 'static,
        R: Future<Output: IntoResponse> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let hub = HubClient::at(&url, SecretString::from("correct-horse-battery")).unwrap();
        tokio::select! {
            served = axum::serve(listener, Router::new().fallback(respond)).into_future() => panic!("{served:?}"),
            answer = ask(hub) => answer,
        }
    }

    #[tokio::test]
    async fn the_key_and_the_question_arrive() {
        let respond = async |request: Request| {
            let header = request.headers()["authorization"]
                .to_str()
                .unwrap_or_default()
                .to_owned();
            axum::Json(json!({ "asked": request.uri().to_string(), "key": header }))
        };
        let answer = with_hub(respond, async |hub| {
            hub.get("/api/x", &[("q", "a&b é".to_owned())]).await
        })
        .await;
        let expected = json!({ "asked": "/api/x?q=a%26b+%C3%A9", "key": "Bearer correct-horse-battery" });
        assert_eq!(answer.unwrap(), expected);
    }

    #[tokio::test]
    async fn a_refusal_is_told_with_what_the_hub_said() {
        let respond = async |_: Request| {
            (
                StatusCode::CONFLICT,
                r#"{"error":"not_cancellable","detail":"Too late."}"#,
            )
        };
        let told = with_hub(respond, async |hub| {
            hub.post("/api/x", HeaderMap::new(), &json!({})).await
        })
        .await;
        let failure = told.unwrap_err();
        assert!(matches!(failure, Failure::Refused { status: 409, .. }), "{failure:?}");
        assert_eq!(failure.to_string(), "the hub refused (409 not_cancellable): Too late.");
    }

    #[tokio::test]
    async fn an_answer_that_is_not_the_hubs_is_told() {
        let told = with_hub(async |_: Request| "<html>", async |hub| hub.get("/api/x", &[]).await).await;
        let failure = told.unwrap_err();
        assert!(
            failure.to_string().contains("answered something that is not JSON"),
            "{failure}"
        );
    }

    #[tokio::test]
    async fn a_redirect_does_not_take_the_key_elsewhere() {
        let respond = async |_: Request| (StatusCode::FOUND, [("location", "http://127.0.0.1:1/")]);
        let told = with_hub(respond, async |hub| hub.get("/api/x", &[]).await).await;
        assert!(matches!(told, Err(Failure::Refused { status: 302, .. })), "{told:?}");
    }

    #[tokio::test]
    async fn nobody_there_is_told() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let hub = HubClient::at(&url, SecretString::from("key")).unwrap();
        let failure = hub.get("/api/x", &[]).await.unwrap_err();
        assert!(matches!(failure, Failure::Unreachable { .. }), "{failure:?}");
        assert!(
            failure
                .to_string()
                .starts_with(&format!("the hub at {url} cannot be reached; start one")),
            "{failure}"
        );
    }

    #[tokio::test]
    async fn a_hub_that_goes_away_while_it_answers_is_told() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let hub = HubClient::at(&url, SecretString::from("key")).unwrap();
        let (asked, accepted) = tokio::join!(hub.get("/api/x", &[]), async {
            drop(listener.accept().await.unwrap());
        });
        let () = accepted;
        assert!(asked.unwrap_err().to_string().contains("broke off the connection"));
    }

    #[test]
    fn a_name_in_an_address_leads_nowhere_else() {
        for name in ["whatsapp-nl", "channels.email.priority", "evt_1"] {
            assert_eq!(name_in_path("a name", name).unwrap(), name);
        }
        for wrong in ["", "..", "../x", "a/b", "a?b", "a b"] {
            assert!(
                matches!(name_in_path("a name", wrong), Err(Failure::Usage(_))),
                "{wrong}"
            );
        }
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        for url in ["127.0.0.1:8080", "ftp://host", "http://", "unix:/tmp/x"] {
            let refused = HubClient::at(url, SecretString::from("key")).err();
            assert!(matches!(refused, Some(Failure::Usage(_))), "{url}");
        }
    }
}
