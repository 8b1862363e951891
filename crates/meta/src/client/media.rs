//! Files, up and down (reference `whatsapp.md` 11, `instagram.md` 2.5, 3.2).
//!
//! A file is never held as a whole: what goes up is a stream, what comes down is read chunk by chunk ([`Download::chunk`]), and how much of
//! it is read is up to the reader.
//!
//! Guarantee: a download goes to Meta's hosts alone (or, where a simulator is called, to that one), each redirect too, and a token with it only where
//! one was given: an address that somebody slipped into a webhook makes nobody call into a private network.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::multipart::{Form, Part};
use reqwest::{Body as Stream, Method, Response, StatusCode, Url};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::calls::{get, post};
use super::nodes::text;
use super::transport::{Body, Call, bearer, chain, header_text};
use super::{CallError, Exchange, GraphClient};

/// Hosts of Meta's that files come from: these and what is below them (reference `whatsapp.md` 11, `instagram.md` 2.5 and 5.3).
const MEDIA_HOSTS: [&str; 4] = ["fbsbx.com", "fbcdn.net", "whatsapp.net", "cdninstagram.com"];

/// More redirects than Meta makes.
const REDIRECTS_MAX: usize = 3;

/// A file on its way to Meta.
#[derive(Debug)]
pub struct Upload {
    /// What is in it.
    pub body: Stream,
    /// How long that is; Meta wants to know beforehand.
    pub length: u64,
    /// Its media type.
    pub mime_type: String,
    /// What it is called; Meta shows this name nowhere.
    pub filename: String,
    /// How long the call may take.
    pub timeout: Duration,
}

/// What Meta says of a file (reference `whatsapp.md` 11).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MediaNode {
    /// Where it can be had for five minutes, with the token.
    pub url: String,
    /// Its media type.
    pub mime_type: Option<String>,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: Option<String>,
    /// How large it is, in bytes.
    pub file_size: Option<u64>,
}

impl MediaNode {
    fn read(answer: &Value) -> Option<Self> {
        // Documented as a text, and comes as a number.
        let size = &answer["file_size"];
        Some(Self {
            url: text(answer, "url")?,
            mime_type: text(answer, "mime_type"),
            sha256: text(answer, "sha256"),
            file_size: size.as_u64().or_else(|| size.as_str()?.parse().ok()),
        })
    }
}

/// Why a file could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DownloadError {
    /// The address is none of Meta's.
    #[error("{host:?} is not a host of Meta's")]
    OtherHost {
        /// Whose it is.
        host: String,
    },
    /// Meta answered with another status than 200.
    #[error("Meta's answer was HTTP {http_status}")]
    Refused {
        /// Which.
        http_status: u16,
    },
    /// The connection could not be made, or broke.
    #[error("{reason}")]
    Broken {
        /// For a person: why.
        reason: String,
    },
}

/// A file that comes down.
#[derive(Debug)]
pub struct Download {
    from: From,
    length: Option<u64>,
    mime_type: Option<String>,
}

#[derive(Debug)]
enum From {
    Meta(Response),
    /// Carried by a simulation.
    Carried(Option<Vec<u8>>),
}

impl Download {
    /// How long it is, if Meta has said so.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Its media type, if Meta has said so; with parameters.
    pub fn mime_type(&self) -> Option<&str> {
        self.mime_type.as_deref()
    }

    /// The next part of it; `None` at its end. One that ends before its length is an error.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, DownloadError> {
        match &mut self.from {
            From::Meta(response) => match response.chunk().await {
                Ok(chunk) => Ok(chunk.map(Into::into)),
                Err(error) => Err(DownloadError::Broken {
                    reason: chain(&error.without_url()),
                }),
            },
            From::Carried(body) => Ok(body.take()),
        }
    }

    fn of(from: From, headers: &HeaderMap) -> Self {
        Self {
            from,
            length: header_text(headers, CONTENT_LENGTH.as_str()).and_then(|length| length.parse().ok()),
            mime_type: header_text(headers, CONTENT_TYPE.as_str()),
        }
    }
}

impl GraphClient {
    /// Hands a file to WhatsApp; answers with Meta's id of it, which lives for 30 days and serves this number alone (reference `whatsapp.md`
    /// 11). Uploading twice does no harm.
    pub async fn upload_media(&self, token: &SecretString, phone_number_id: &str, file: Upload) -> Exchange<String> {
        let timeout = file.timeout;
        let form = Form::new()
            .text("messaging_product", "whatsapp")
            .text("type", file.mime_type.clone());
        let path = [phone_number_id, "media"];
        let read = |answer: &Value| text(answer, "id");
        self.upload(token, &path, form, "file", file, timeout, read).await
    }

    /// Hands a file to Instagram, as an attachment of this kind (`image`, `video`, `audio` or `file`); answers with Meta's id of it (reference
    /// `instagram.md` 3.2).
    pub async fn upload_attachment(
        &self,
        token: &SecretString,
        account_id: &str,
        kind: &str,
        file: Upload,
    ) -> Exchange<String> {
        let timeout = file.timeout;
        let message = json!({"attachment": {"type": kind, "payload": {"is_reusable": true}}});
        let form = Form::new().text("message", message.to_string());
        let path = [account_id, "message_attachments"];
        let read = |answer: &Value| text(answer, "attachment_id");
        self.upload(token, &path, form, "filedata", file, timeout, read).await
    }

    #[expect(clippy::too_many_arguments, reason = "two callers, above")]
    async fn upload(
        &self,
        token: &SecretString,
        path: &[&str],
        form: Form,
        field: &'static str,
        file: Upload,
        timeout: Duration,
        read: impl FnOnce(&Value) -> Option<String>,
    ) -> Exchange<String> {
        let part = Part::stream_with_length(file.body, file.length).file_name(file.filename);
        let Ok(part) = part.mime_str(&file.mime_type) else {
            return Exchange::not_sent(format!("{:?} is not a media type", file.mime_type));
        };
        let call = Call {
            timeout: Some(timeout),
            ..post(token, path, Body::Multipart(Box::new(form.part(field, part))))
        };
        self.call(call, read).await
    }

    /// Asks where a file is, and what it is (reference `whatsapp.md` 11).
    pub async fn media(&self, token: &SecretString, phone_number_id: &str, media_id: &str) -> Exchange<MediaNode> {
        let path = [media_id];
        let query = [("phone_number_id", phone_number_id)];
        self.call(get(token, &path, &query), MediaNode::read).await
    }

    /// Takes a file out of Meta's hands.
    pub async fn delete_media(&self, token: &SecretString, media_id: &str) -> Exchange<()> {
        let path = [media_id];
        let call = Call {
            method: Method::DELETE,
            ..get(token, &path, &[])
        };
        self.call(call, super::nodes::succeeded).await
    }

    /// Begins to fetch a file: WhatsApp's with the token, Instagram's without (reference `whatsapp.md` 11, `instagram.md` 2.5).
    pub async fn download(
        &self,
        token: Option<&SecretString>,
        url: &str,
        timeout: Duration,
    ) -> Result<Download, DownloadError> {
        let broken = |reason: &str| DownloadError::Broken {
            reason: reason.to_owned(),
        };
        let mut url = Url::parse(url).map_err(|_| broken("the address is not one"))?;
        for _ in 0..=REDIRECTS_MAX {
            if !self.may_fetch(&url) {
                let host = url.host_str().unwrap_or_default().to_owned();
                return Err(DownloadError::OtherHost { host });
            }
            let mut request = self.http.get(url.clone()).timeout(timeout);
            if let Some(token) = token {
                let bearer = bearer(token).ok_or_else(|| broken("the token holds characters that no token has"))?;
                request = request.header(AUTHORIZATION, bearer);
            }
            let (status, headers, from) = if let Some(carrier) = &self.carrier {
                let request = request.build().map_err(|error| broken(&chain(&error)))?;
                let carried = carrier.carry(request).await.map_err(|error| match error {
                    CallError::NotSent { reason } | CallError::Unknown { reason, .. } => broken(&reason),
                    other => broken(&other.to_string()),
                })?;
                if let Some(reason) = carried.broken {
                    return Err(DownloadError::Broken { reason });
                }
                let status = StatusCode::from_u16(carried.http_status).unwrap_or(StatusCode::BAD_GATEWAY);
                (status, carried.headers, From::Carried(Some(carried.body)))
            } else {
                let response = request.send().await;
                let response = response.map_err(|error| broken(&chain(&error.without_url())))?;
                (response.status(), response.headers().clone(), From::Meta(response))
            };
            if status == StatusCode::OK {
                return Ok(Download::of(from, &headers));
            }
            let next = status
                .is_redirection()
                .then(|| header_text(&headers, LOCATION.as_str()))
                .flatten()
                .and_then(|next| url.join(&next).ok());
            let Some(next) = next else {
                return Err(DownloadError::Refused {
                    http_status: status.as_u16(),
                });
            };
            url = next;
        }
        Err(broken("it was redirected too often"))
    }

    /// Whether files may be fetched from an address: from Meta's hosts, and from the one that is called, which in place of Meta is a simulator.
    fn may_fetch(&self, url: &Url) -> bool {
        let has_credentials = !url.username().is_empty() || url.password().is_some();
        if has_credentials {
            return false;
        }
        let Ok(own) = Url::parse(&self.base_url) else {
            return false;
        };
        if own.origin() == url.origin() || own.scheme() != "https" {
            // Where a simulator is called nobody else is.
            return own.origin() == url.origin();
        }
        let host = url.domain().unwrap_or_default().to_ascii_lowercase();
        let is_metas = MEDIA_HOSTS
            .iter()
            .any(|meta| host == *meta || host.strip_suffix(meta).is_some_and(|rest| rest.ends_with('.')));
        is_metas && url.scheme() == "https" && url.port().is_none()
    }
}

#[cfg(test)]
mod tests {
    use reqwest::Url;
    use serde_json::json;

    use super::MediaNode;
    use crate::client::{ClientOptions, GraphClient};

    #[test]
    fn files_come_from_meta_or_from_the_host_that_is_called() {
        let client = |base_url: &str| GraphClient::new(ClientOptions::new(base_url, "v26.0")).unwrap();
        let (meta, simulator) = (
            client("https://graph.facebook.com"),
            client("http://127.0.0.1:4000/graph"),
        );
        for (url, may) in [
            ("https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid=1", true),
            ("https://scontent-ams2-1.cdninstagram.com/v/t51/p.jpg", true),
            ("https://mmg.whatsapp.net/d/f/x.enc", true),
            ("https://fbcdn.net/x", true),
            ("https://graph.facebook.com/x", true),
            ("http://127.0.0.1:4000/whatsapp_business/attachments/?mid=1", false),
            ("http://lookaside.fbsbx.com/x", false),
            ("https://lookaside.fbsbx.com:8443/x", false),
            ("https://evilfbsbx.com/x", false),
            ("https://fbsbx.com.evil.example/x", false),
            ("https://user:word@lookaside.fbsbx.com/x", false),
            ("http://user@127.0.0.1:4000/x", false),
            ("http://127.0.0.1:4001/x", false),
            ("http://localhost:4000/x", false),
            ("http://169.254.169.254/latest/meta-data", false),
            ("https://[::1]/x", false),
            ("file:///etc/passwd", false),
        ] {
            assert_eq!(meta.may_fetch(&Url::parse(url).unwrap()), may, "{url}");
        }
        for (url, may) in [
            ("http://127.0.0.1:4000/whatsapp_business/attachments/?mid=1", true),
            ("http://127.0.0.1:4001/x", false),
            ("http://localhost:4000/x", false),
            ("http://user@127.0.0.1:4000/x", false),
            ("https://lookaside.fbsbx.com/x", false),
        ] {
            assert_eq!(simulator.may_fetch(&Url::parse(url).unwrap()), may, "{url}");
        }
    }

    #[test]
    fn a_size_is_a_number_or_a_text() {
        let node = |size: serde_json::Value| MediaNode::read(&json!({"url": "https://x", "file_size": size}));
        assert_eq!(node(json!(184_223)).unwrap().file_size, Some(184_223));
        assert_eq!(node(json!("184223")).unwrap().file_size, Some(184_223));
        assert_eq!(node(json!("large")).unwrap().file_size, None);
        assert_eq!(MediaNode::read(&json!({"id": "1"})), None);
    }
}
