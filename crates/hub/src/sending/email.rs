//! E-mail: from a message to one plain and one HTML part, and from what the SMTP server says to an outcome.

use std::error::Error;
use std::time::Duration;

use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::Error as SmtpError;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::conversations::content::Content;
use crate::conversations::model::Failure;
use crate::ids::MessageId;
use crate::sending::model::{Cause, Outcome, Recipient};

/// The subject of an e-mail whose policy names none.
const SUBJECT: &str = "A message for you";
/// How long an SMTP command may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Codes of failures that are the login's (RFC 4954, 6).
const LOGIN_CODES: [i64; 3] = [530, 534, 535];
/// What the library says where a server cannot be logged in to as the address of the channel asks: no fault of a message's.
const LOGIN_TEXTS: [&str; 2] = ["No compatible authentication mechanism", "STARTTLS is not supported"];
/// How the library's errors begin where no connection came about, so that nothing was said of any message. It tells it in no other way.
const NO_CONNECTION: &str = "Connection error";

/// What is sent to an address: kept with the attempt. `callback` makes the id of the e-mail.
pub fn body(address: &str, content: &Content, callback: &str) -> Value {
    let text = text_of(content);
    json!({ "to": address, "subject": SUBJECT, "text": text, "html": html_of(content), "id": callback })
}

/// Gives an e-mail the subject of its policy, and an id that stays the same however often it is sent: who gets it twice sees it once.
pub fn dress(body: &mut Value, subject: Option<&str>, id: MessageId) {
    if let Some(subject) = subject {
        body["subject"] = subject.into();
    }
    body["id"] = id.to_string().into();
}

fn text_of(content: &Content) -> String {
    match content {
        Content::Text { text, .. } => text.clone(),
        Content::QuickReplies { text, quick_replies } => {
            let replies: Vec<String> = quick_replies.iter().map(|reply| format!("- {}", reply.title)).collect();
            format!("{text}\n\n{}", replies.join("\n"))
        }
        Content::Image(media) => {
            let caption = media.caption.as_deref().unwrap_or_default();
            format!("{caption}\n\n{}", media.link.as_deref().unwrap_or_default())
                .trim()
                .to_owned()
        }
        other => unreachable!("`{}` is refused before it is queued", other.kind()),
    }
}

fn html_of(content: &Content) -> String {
    let body = match content {
        Content::Text { text, .. } => paragraphs(text),
        Content::QuickReplies { text, quick_replies } => {
            let replies: Vec<String> = quick_replies.iter().map(|reply| escaped(&reply.title)).collect();
            format!("{}<ul><li>{}</li></ul>", paragraphs(text), replies.join("</li><li>"))
        }
        Content::Image(media) => {
            let link = escaped(media.link.as_deref().unwrap_or_default());
            let caption = media.caption.as_deref().map(paragraphs).unwrap_or_default();
            format!("{caption}<p><a href=\"{link}\"><img src=\"{link}\" alt=\"\"></a></p>")
        }
        other => unreachable!("`{}` is refused before it is queued", other.kind()),
    };
    format!("<!doctype html><html><body>{body}</body></html>")
}

fn paragraphs(text: &str) -> String {
    let paragraphs: Vec<String> = text
        .split("\n\n")
        .map(str::trim)
        .filter(|paragraph| !paragraph.is_empty())
        .map(|paragraph| escaped(paragraph).replace('\n', "<br>"))
        .collect();
    format!("<p>{}</p>", paragraphs.join("</p><p>"))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Whether a text is one e-mail address.
pub fn is_address(text: &str) -> bool {
    text.len() <= 254 && text.parse::<lettre::Address>().is_ok()
}

/// The way to one SMTP server, with connections that are kept. Cheap to clone.
#[derive(Clone)]
pub struct Mailer {
    from: Mailbox,
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

/// What came of one e-mail.
#[derive(Debug)]
pub struct Posted {
    /// As for any message.
    pub outcome: Outcome,
    /// What the server said, or what went wrong.
    pub answer: String,
}

impl Mailer {
    /// To the server at `smtp_url`, as `from`; `None` if either cannot be used.
    pub fn new(smtp_url: &SecretString, from: &str) -> Option<Self> {
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(smtp_url.expose_secret())
            .ok()?
            .timeout(Some(TIMEOUT))
            .build();
        Some(Self {
            from: from.parse().ok()?,
            transport,
        })
    }

    /// Sends what [`body`] made.
    pub async fn send(&self, body: &Value) -> Posted {
        let message = match self.message(body) {
            Ok(message) => message,
            Err(reason) => {
                return Posted {
                    outcome: Outcome::Failed {
                        failure: Failure::ours(&reason),
                        window_closed: false,
                    },
                    answer: reason,
                };
            }
        };
        match self.transport.send(message).await {
            Ok(response) => Posted {
                outcome: Outcome::Accepted {
                    external_id: body["id"].as_str().unwrap_or_default().to_owned(),
                    recipient: Recipient::default(),
                },
                answer: format!(
                    "{} {}",
                    response.code(),
                    response.message().collect::<Vec<_>>().join(" ")
                ),
            },
            Err(error) => Posted {
                outcome: of(&error),
                answer: chain(&error),
            },
        }
    }

    /// Logs in, and does nothing else.
    pub async fn log_in(&self) -> Result<(), LogInError> {
        let code_is_ok = self.transport.test_connection().await;
        match code_is_ok {
            Ok(true) => Ok(()),
            Ok(false) => Err(LogInError::Unanswered(
                "the server does not answer as it should".to_owned(),
            )),
            Err(error) if is_of_login(&error) => Err(LogInError::Refused(chain(&error))),
            Err(error) => Err(LogInError::Unanswered(chain(&error))),
        }
    }

    fn message(&self, body: &Value) -> Result<Message, String> {
        let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
        let to: Mailbox = text("to")
            .parse()
            .map_err(|_| "the address is no e-mail address".to_owned())?;
        let domain = self.from.email.domain().to_owned();
        Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(text("subject"))
            .message_id(Some(format!("<{}@{domain}>", text("id"))))
            .multipart(MultiPart::alternative_plain_html(text("text"), text("html")))
            .map_err(|error| format!("no e-mail can be made of it: {error}"))
    }
}

/// Why a server could not be logged in to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogInError {
    /// It does not take the credentials.
    #[error("{0}")]
    Refused(String),
    /// It did not say.
    #[error("{0}")]
    Unanswered(String),
}

fn code_of(error: &SmtpError) -> i64 {
    error.status().map_or(0, |code| i64::from(u16::from(code)))
}

fn is_of_login(error: &SmtpError) -> bool {
    let text = chain(error);
    LOGIN_CODES.contains(&code_of(error)) || (error.is_client() && LOGIN_TEXTS.iter().any(|login| text.contains(login)))
}

/// What an error means for the message. A server that has answered has not taken it; one that has not may have: the connection can break
/// after the whole of it was sent, and the library does not tell that from before.
fn of(error: &SmtpError) -> Outcome {
    let code = code_of(error);
    let failure = Failure {
        code,
        subcode: None,
        text: chain(error),
    };
    if is_of_login(error) {
        Outcome::Again {
            cause: Cause::Credentials,
            failure,
            wait: None,
        }
    } else if error.is_permanent() || error.is_client() {
        Outcome::Failed {
            failure,
            window_closed: false,
        }
    } else if error.is_transient() || is_before_data(error) {
        Outcome::Again {
            cause: Cause::Temporary,
            failure,
            wait: None,
        }
    } else {
        Outcome::Unknown {
            failure,
            answered: false,
        }
    }
}

/// Whether no connection came about, so that nothing can have been taken.
fn is_before_data(error: &SmtpError) -> bool {
    error.is_tls() || error.to_string().starts_with(NO_CONNECTION)
}

fn chain(error: &SmtpError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::{LogInError, Mailer, body, dress, is_address};
    use crate::conversations::content::{Content, Media};
    use crate::ids::MessageId;
    use crate::sending::model::{Cause, Outcome};

    #[test]
    fn an_email_says_the_same_in_both_parts_and_nothing_in_it_is_markup() {
        let made = body("ada@example.org", &Content::text("a < b\nand\n\nmore"), "id-1");
        assert_eq!(made["text"], "a < b\nand\n\nmore");
        assert_eq!(
            made["html"],
            "<!doctype html><html><body><p>a &lt; b<br>and</p><p>more</p></body></html>"
        );
        let image = Content::Image(Media {
            link: Some("https://example.org/1.jpg".into()),
            ..Media::default()
        });
        assert_eq!(
            body("ada@example.org", &image, "id")["text"],
            "https://example.org/1.jpg"
        );
    }

    #[test]
    fn an_email_keeps_its_id_and_has_the_subject_of_its_policy() {
        let mut made = body("ada@example.org", &Content::text("a"), "of/this/attempt");
        dress(&mut made, Some("News of your order"), MessageId::MIN);
        assert_eq!(made["subject"], "News of your order");
        assert_eq!(made["id"], MessageId::MIN.to_string());
    }

    #[tokio::test]
    async fn where_no_connection_comes_about_nothing_was_taken() {
        // Bound and let go of: nobody listens there.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let url = SecretString::from(format!("smtp://127.0.0.1:{port}"));
        let mailer = Mailer::new(&url, "shop@example.com").unwrap();
        let posted = mailer.send(&body("ada@example.org", &Content::text("a"), "id")).await;
        let is_temporary = matches!(
            posted.outcome,
            Outcome::Again {
                cause: Cause::Temporary,
                ..
            }
        );
        assert!(is_temporary, "{posted:?}");
        assert!(matches!(mailer.log_in().await, Err(LogInError::Unanswered(_))));
    }

    #[test]
    fn one_address_is_told_from_several_and_from_none() {
        assert!(is_address("ada@example.org"));
        for wrong in ["ada", "a@b, c@d.org", "ada@example.org\r\nBcc: x@y.z", ""] {
            assert!(!is_address(wrong), "{wrong}");
        }
    }
}
