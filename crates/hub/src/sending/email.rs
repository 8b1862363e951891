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
use crate::sending::model::{Cause, Outcome, Recipient};

/// The subject of an e-mail whose policy names none.
const SUBJECT: &str = "A message for you";
/// How long an SMTP command may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Codes of failures that are the login's (RFC 4954, 6).
const LOGIN_CODES: [i64; 3] = [530, 534, 535];

/// What is sent to an address: kept with the attempt. `callback` makes the id of the e-mail.
pub fn body(address: &str, content: &Content, callback: &str) -> Value {
    let text = text_of(content);
    json!({ "to": address, "subject": SUBJECT, "text": text, "html": html_of(content), "id": callback })
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

/// What an error means for the message. A server that has answered has not taken it; one that has not may have.
fn of(error: &SmtpError) -> Outcome {
    let code = error.status().map_or(0, |code| i64::from(u16::from(code)));
    let failure = Failure {
        code: 0,
        subcode: None,
        text: chain(error),
    };
    if LOGIN_CODES.contains(&code) {
        Outcome::Again {
            cause: Cause::Credentials,
            failure: Failure { code, ..failure },
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
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && matches!(
                io.kind(),
                std::io::ErrorKind::ConnectionRefused
                    | std::io::ErrorKind::HostUnreachable
                    | std::io::ErrorKind::NetworkUnreachable
                    | std::io::ErrorKind::AddrNotAvailable
            )
        {
            return true;
        }
        source = error.source();
    }
    false
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
    use super::{body, is_address};
    use crate::conversations::content::{Content, Media};

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
    fn one_address_is_told_from_several_and_from_none() {
        assert!(is_address("ada@example.org"));
        for wrong in ["ada", "a@b, c@d.org", "ada@example.org\r\nBcc: x@y.z", ""] {
            assert!(!is_address(wrong), "{wrong}");
        }
    }
}
