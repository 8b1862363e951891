//! Files in a message: by id or by link, exactly one of them (whatsapp.md 9.2).

use serde_json::Value;

use super::{missing, value_invalid};
use crate::graph::error::GraphError;
use crate::graph::media::fits;
use crate::state::State;
use crate::state::threads::Attached;
use crate::world::Number;

/// Where files are looked up.
#[derive(Clone, Copy)]
pub(super) struct Files<'a> {
    pub(super) state: &'a State,
    pub(super) number: &'a Number,
    pub(super) now: i64,
}

/// A file that a message brings, and how it fails later, if it does.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) attached: Attached,
    /// A link that can't be fetched is told in a status (whatsapp.md 9.2).
    pub(super) fails_with: Option<i64>,
}

/// What the name of an id is followed by in the sandbox.
pub(super) fn shown_link(id: &str) -> String {
    format!("/sandbox/media/{id}")
}

impl Files<'_> {
    /// The file under the key of its kind, as in the headers of interactive messages: `{"type": "image", "image": {…}}`.
    pub(super) fn header(self, part: &Value, kinds: &[&str]) -> Result<Taken, GraphError> {
        let kind = part["type"].as_str().unwrap_or_default();
        if !kinds.contains(&kind) {
            return Err(value_invalid(&format!(
                "the header's type must be one of {}",
                kinds.join(", ")
            )));
        }
        let file = part.get(kind).ok_or_else(|| missing(&format!("header.{kind}")))?;
        self.take(kind, file)
    }

    pub(super) fn take(self, kind: &str, part: &Value) -> Result<Taken, GraphError> {
        let filename = part["filename"]
            .as_str()
            .filter(|_| kind == "document")
            .map(str::to_owned);
        let (link, fails_with) = match (part["id"].as_str(), part["link"].as_str()) {
            (None, Some(link)) => {
                let host = link.strip_prefix("https://").or_else(|| link.strip_prefix("http://"));
                let host = host.and_then(|rest| rest.split(['/', '?', '#']).next());
                let host = host.filter(|host| !host.is_empty());
                let host = host.ok_or_else(|| value_invalid(&format!("{kind}.link is not a web address")))?;
                (link.to_owned(), is_unreachable(host).then_some(131_053))
            }
            (Some(id), None) => {
                let media = self.state.media.get(id, self.now);
                let media = media.filter(|media| media.owner == self.number.id && fits(&media.mime, kind));
                let media =
                    media.ok_or_else(|| value_invalid(&format!("{kind}.id is not a media id of this number")))?;
                // A voice message needs OGG (whatsapp.md 9.2).
                let is_voice = kind == "audio" && part["voice"] == true;
                let fails = is_voice && !media.mime.starts_with("audio/ogg");
                (shown_link(id), fails.then_some(131_053))
            }
            _ => return Err(value_invalid(&format!("{kind} needs either id or link"))),
        };
        Ok(Taken {
            attached: Attached {
                kind: kind.to_owned(),
                link,
                filename,
            },
            fails_with,
        })
    }
}

/// The sandbox calls out to nobody; of hosts that can't exist (RFC 6761) it knows that fetching from them fails.
pub(crate) fn is_unreachable(host: &str) -> bool {
    let host = host.split(':').next().unwrap_or_default();
    host == "invalid" || host.ends_with(".invalid")
}
