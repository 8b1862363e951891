//! E-mail: from a message to one plain and one HTML part, and from what the SMTP server says to an outcome.

use std::error::Error;
use std::time::Duration;

use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::Error as SmtpError;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::conversations::content::{Button, ContactCard, Content, Header, Media};
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

/// Why an e-mail cannot say this; `None` if it can.
pub fn refusal(content: &Content) -> Option<String> {
    let why = match content {
        Content::Text { .. }
        | Content::QuickReplies { .. }
        | Content::Buttons(_)
        | Content::List(_)
        | Content::Location(_)
        | Content::Contacts { .. } => return None,
        Content::Image(_)
        | Content::Video(_)
        | Content::Audio(_)
        | Content::Document(_)
        | Content::Sticker(_)
        | Content::Several { .. }
        | Content::Carousel(_) => {
            let files = content.files();
            let is_bare = matches!(content, Content::Sticker(media) if media.link.is_none());
            if !is_bare && files.iter().all(|(_, media)| media.link.is_some()) {
                return None;
            }
            "what is not at a public address cannot be fetched from an e-mail"
        }
        Content::Template(_) => "its words are at Meta",
        Content::CommentReply(_) | Content::PrivateReply(_) => "comments are on Instagram alone",
        Content::Reaction(_) => "there is no message there to put it on",
        Content::Share { .. } => "a post is shown by Instagram alone",
        Content::Flow(_)
        | Content::Product(_)
        | Content::ProductList(_)
        | Content::Catalog(_)
        | Content::LocationRequest(_)
        | Content::ContactRequest(_)
        | Content::AddressRequest(_)
        | Content::CallPermissionRequest(_) => "what it asks for or shows works in WhatsApp alone",
        Content::Reply(_)
        | Content::Form { .. }
        | Content::Order { .. }
        | Content::System { .. }
        | Content::CallPermission { .. }
        | Content::Placeholder
        | Content::Unsupported { .. }
        | Content::Deleted
        | Content::Unknown { .. } => "it only comes in",
    };
    Some(format!("`{}` cannot be sent by e-mail: {why}", content.kind()))
}

/// One piece of an e-mail, which both parts say in their own way.
enum Piece<'a> {
    /// Words.
    Words(&'a str),
    /// A line that stands out.
    Title(&'a str),
    /// Choices and other short things, one below the other.
    Points(Vec<String>),
    /// A picture that is shown.
    Picture(&'a str),
    /// A link, by what it is called.
    Link(&'a str, String),
}

fn pieces(content: &Content) -> Vec<Piece<'_>> {
    match content {
        Content::Text { text, .. } => vec![Piece::Words(text)],
        Content::QuickReplies { text, quick_replies } => {
            let replies = quick_replies.iter().map(|reply| reply.title.clone());
            vec![Piece::Words(text), Piece::Points(replies.collect())]
        }
        Content::Image(media) => {
            let mut pieces = captioned(media);
            pieces.extend(media.link.as_deref().map(Piece::Picture));
            pieces
        }
        Content::Sticker(media) => media.link.as_deref().map(Piece::Picture).into_iter().collect(),
        Content::Video(media) => linked(media, "Video"),
        Content::Audio(media) => linked(media, "Audio"),
        Content::Document(media) => linked(media, media.filename.as_deref().unwrap_or("Document")),
        Content::Several { text, parts } => {
            let words = text.as_deref().map(Piece::Words).into_iter();
            words.chain(parts.iter().flat_map(pieces)).collect()
        }
        Content::Location(location) => {
            let mut pieces: Vec<Piece<'_>> = location.name.as_deref().map(Piece::Title).into_iter().collect();
            pieces.extend(location.address.as_deref().map(Piece::Words));
            let (latitude, longitude) = (location.latitude, location.longitude);
            let map = format!(
                "https://www.openstreetmap.org/?mlat={latitude}&mlon={longitude}#map=16/{latitude}/{longitude}"
            );
            pieces.push(Piece::Link("Map", map));
            pieces
        }
        Content::Contacts { contacts } => {
            let cards = contacts
                .iter()
                .filter_map(|card| serde_json::from_value::<ContactCard>(card.clone()).ok());
            vec![Piece::Points(cards.map(|card| line_of(&card)).collect())]
        }
        Content::Buttons(buttons) => {
            let mut pieces = headed(buttons.header.as_ref());
            pieces.push(Piece::Words(&buttons.text));
            pieces.extend(pressed(&buttons.buttons));
            pieces.extend(buttons.footer.as_deref().map(Piece::Words));
            pieces
        }
        Content::List(list) => {
            let mut pieces = headed(list.header.as_ref());
            pieces.push(Piece::Words(&list.text));
            for section in &list.sections {
                pieces.extend(section.title.as_deref().map(Piece::Title));
                let rows = section.rows.iter().map(|row| match &row.description {
                    Some(description) => format!("{}: {description}", row.title),
                    None => row.title.clone(),
                });
                pieces.push(Piece::Points(rows.collect()));
            }
            pieces.extend(list.footer.as_deref().map(Piece::Words));
            pieces
        }
        Content::Carousel(carousel) => {
            let mut pieces: Vec<Piece<'_>> = carousel.text.as_deref().map(Piece::Words).into_iter().collect();
            for card in &carousel.cards {
                pieces.extend(card.title.as_deref().map(Piece::Title));
                pieces.extend(headed(card.header.as_ref()));
                pieces.extend(card.text.as_deref().map(Piece::Words));
                pieces.extend(card.url.clone().map(|url| Piece::Link("Open", url)));
                pieces.extend(pressed(&card.buttons));
            }
            pieces
        }
        other => unreachable!("`{}` is refused before it is queued", other.kind()),
    }
}

fn captioned(media: &Media) -> Vec<Piece<'_>> {
    media.caption.as_deref().map(Piece::Words).into_iter().collect()
}

fn linked<'a>(media: &'a Media, name: &'a str) -> Vec<Piece<'a>> {
    let mut pieces = captioned(media);
    pieces.extend(media.link.clone().map(|link| Piece::Link(name, link)));
    pieces
}

fn headed(header: Option<&Header>) -> Vec<Piece<'_>> {
    match header {
        None => Vec::new(),
        Some(Header::Text { text }) => vec![Piece::Title(text)],
        Some(Header::Image(media)) => media.link.as_deref().map(Piece::Picture).into_iter().collect(),
        Some(Header::Video(media)) => linked(media, "Video"),
        Some(Header::Document(media)) => linked(media, media.filename.as_deref().unwrap_or("Document")),
    }
}

/// Pages as links, and what is answered by as points: there is nothing to press in an e-mail.
fn pressed(buttons: &[Button]) -> Vec<Piece<'_>> {
    let (pages, answers): (Vec<&Button>, Vec<&Button>) = buttons.iter().partition(|button| button.url.is_some());
    let answers: Vec<String> = answers.iter().map(|button| button.title.clone()).collect();
    let mut pieces = Vec::new();
    if !answers.is_empty() {
        pieces.push(Piece::Points(answers));
    }
    let pages = pages.into_iter().filter_map(|button| {
        let url = button.url.clone()?;
        Some(Piece::Link(&button.title, url))
    });
    pieces.extend(pages);
    pieces
}

fn line_of(card: &ContactCard) -> String {
    let phones = card.phones.iter().map(|phone| phone.phone.as_str());
    let emails = card.emails.iter().map(|email| email.email.as_str());
    let ways: Vec<&str> = phones.chain(emails).collect();
    if ways.is_empty() {
        card.name.formatted_name.clone()
    } else {
        format!("{}: {}", card.name.formatted_name, ways.join(", "))
    }
}

fn text_of(content: &Content) -> String {
    let pieces = pieces(content).into_iter().map(|piece| match piece {
        Piece::Words(text) | Piece::Title(text) | Piece::Picture(text) => text.to_owned(),
        Piece::Points(points) => {
            let points: Vec<String> = points.iter().map(|point| format!("- {point}")).collect();
            points.join("\n")
        }
        Piece::Link(name, url) => format!("{name}: {url}"),
    });
    pieces.collect::<Vec<String>>().join("\n\n")
}

fn html_of(content: &Content) -> String {
    let pieces = pieces(content).into_iter().map(|piece| match piece {
        Piece::Words(text) => paragraphs(text),
        Piece::Title(text) => format!("<p><strong>{}</strong></p>", escaped(text)),
        Piece::Points(points) => {
            let points: Vec<String> = points.iter().map(|point| escaped(point)).collect();
            format!("<ul><li>{}</li></ul>", points.join("</li><li>"))
        }
        Piece::Picture(link) => {
            let link = escaped(link);
            format!("<p><a href=\"{link}\"><img src=\"{link}\" alt=\"\"></a></p>")
        }
        Piece::Link(name, url) => format!("<p><a href=\"{}\">{}</a></p>", escaped(&url), escaped(name)),
    });
    format!(
        "<!doctype html><html><body>{}</body></html>",
        pieces.collect::<String>()
    )
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
    transport: Transport,
}

/// The library closes the connections that it has kept by a task of its own, which it starts wherever the last one lets go of them. That may be
/// a thread of the store, where no task can be started: so the runtime is kept with them.
#[derive(Clone)]
struct Transport {
    /// There until it is let go of.
    kept: Option<AsyncSmtpTransport<Tokio1Executor>>,
    runtime: Handle,
}

impl Transport {
    fn kept(&self) -> &AsyncSmtpTransport<Tokio1Executor> {
        self.kept.as_ref().expect("it is let go of at the end alone")
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        let _within = self.runtime.enter();
        drop(self.kept.take());
    }
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
    /// To the server at `smtp_url`, as `from`; `None` if either cannot be used, or outside of a runtime.
    pub fn new(smtp_url: &SecretString, from: &str) -> Option<Self> {
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(smtp_url.expose_secret())
            .ok()?
            .timeout(Some(TIMEOUT))
            .build();
        Some(Self {
            from: from.parse().ok()?,
            transport: Transport {
                kept: Some(transport),
                runtime: Handle::try_current().ok()?,
            },
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
        match self.transport.kept().send(message).await {
            Ok(response) => Posted {
                outcome: Outcome::Accepted {
                    external_id: Some(body["id"].as_str().unwrap_or_default().to_owned()),
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
        let code_is_ok = self.transport.kept().test_connection().await;
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
    use serde_json::json;

    use super::{LogInError, Mailer, body, dress, is_address};
    use crate::channels::model::ChannelKind;
    use crate::conversations::content::{Content, Media};
    use crate::ids::MessageId;
    use crate::sending::model::{Cause, Outcome};
    use crate::sending::request::check;

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
    async fn it_may_be_let_go_of_where_no_task_can_be_started() {
        let mailer = Mailer::new(&"smtp://127.0.0.1:1".into(), "shop@example.com").unwrap();
        let elsewhere = std::thread::scope(|threads| threads.spawn(move || drop(mailer)).join());
        assert!(elsewhere.is_ok());
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
    fn every_kind_that_an_email_can_say_is_said_in_both_parts() {
        let link = "https://cdn.example.org/1";
        let cases = [
            (
                json!({"type": "quick_replies", "text": "When?", "quickReplies": [{"title": "Friday", "payload": "5"}]}),
                "When?\n\n- Friday",
                "<p>When?</p><ul><li>Friday</li></ul>",
            ),
            (
                json!({"type": "document", "link": link, "filename": "quote.pdf", "caption": "Our offer"}),
                "Our offer\n\nquote.pdf: https://cdn.example.org/1",
                "<p>Our offer</p><p><a href=\"https://cdn.example.org/1\">quote.pdf</a></p>",
            ),
            (
                json!({"type": "several", "text": "Both", "parts": [{"type": "image", "link": link}, {"type": "image", "link": link}]}),
                "Both\n\nhttps://cdn.example.org/1\n\nhttps://cdn.example.org/1",
                "<p>Both</p>\
                 <p><a href=\"https://cdn.example.org/1\"><img src=\"https://cdn.example.org/1\" alt=\"\"></a></p>\
                 <p><a href=\"https://cdn.example.org/1\"><img src=\"https://cdn.example.org/1\" alt=\"\"></a></p>",
            ),
            (
                json!({"type": "audio", "link": link, "voice": true}),
                "Audio: https://cdn.example.org/1",
                "<p><a href=\"https://cdn.example.org/1\">Audio</a></p>",
            ),
            (
                json!({"type": "sticker", "link": link}),
                "https://cdn.example.org/1",
                "<p><a href=\"https://cdn.example.org/1\"><img src=\"https://cdn.example.org/1\" alt=\"\"></a></p>",
            ),
            (
                json!({"type": "location", "latitude": 51.5, "longitude": -0.1, "name": "River Gate"}),
                "River Gate\n\nMap: https://www.openstreetmap.org/?mlat=51.5&mlon=-0.1#map=16/51.5/-0.1",
                "<p><strong>River Gate</strong></p>\
                 <p><a href=\"https://www.openstreetmap.org/?mlat=51.5&amp;mlon=-0.1#map=16/51.5/-0.1\">Map</a></p>",
            ),
            (
                json!({"type": "contacts", "contacts": [{"name": {"formatted_name": "Ada"}, "phones": [{"phone": "+44 1"}]}]}),
                "- Ada: +44 1",
                "<ul><li>Ada: +44 1</li></ul>",
            ),
            (
                json!({"type": "buttons", "text": "Track it", "header": {"type": "text", "text": "Parcel"}, "footer": "Post",
                    "buttons": [{"title": "Track", "url": link}]}),
                "Parcel\n\nTrack it\n\nTrack: https://cdn.example.org/1\n\nPost",
                "<p><strong>Parcel</strong></p><p>Track it</p>\
                 <p><a href=\"https://cdn.example.org/1\">Track</a></p><p>Post</p>",
            ),
            (
                json!({"type": "list", "text": "Pick", "button": "See", "sections": [
                    {"title": "Monthly", "rows": [{"title": "A", "payload": "a", "description": "Cheap"}]}]}),
                "Pick\n\nMonthly\n\n- A: Cheap",
                "<p>Pick</p><p><strong>Monthly</strong></p><ul><li>A: Cheap</li></ul>",
            ),
            (
                json!({"type": "carousel", "cards": [{"title": "Hat", "text": "29 EUR", "url": link}]}),
                "Hat\n\n29 EUR\n\nOpen: https://cdn.example.org/1",
                "<p><strong>Hat</strong></p><p>29 EUR</p><p><a href=\"https://cdn.example.org/1\">Open</a></p>",
            ),
        ];
        for (document, text, html) in cases {
            let content: Content = serde_json::from_value(document).unwrap();
            assert_eq!(check(ChannelKind::Email, &content), []);
            let made = body("ada@example.org", &content, "id");
            assert_eq!(made["text"], text);
            assert_eq!(made["html"], format!("<!doctype html><html><body>{html}</body></html>"));
        }
    }

    #[test]
    fn one_address_is_told_from_several_and_from_none() {
        assert!(is_address("ada@example.org"));
        for wrong in ["ada", "a@b, c@d.org", "ada@example.org\r\nBcc: x@y.z", ""] {
            assert!(!is_address(wrong), "{wrong}");
        }
    }
}
