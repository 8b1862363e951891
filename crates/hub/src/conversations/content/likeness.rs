//! Whether an echo says what a message of ours says: how one of unknown outcome is recognised on Instagram, whose requests bear no mark.
//!
//! Words are a good sign, and so is Meta's id of a post, or the title of a card. A picture comes back by another link than it was sent by, and
//! a heart has nothing to be recognised by: of those the kind alone can be compared. That is enough while the message is on its way, since a
//! conversation has one on its way at a time, and only for as long; of a message that was given up it would be a guess.

use super::{Carousel, Content};

/// How much an echo is like a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Likeness {
    /// It is something else.
    None,
    /// It is of the same kind, and has nothing that could be compared.
    Kind,
    /// It says the same.
    Words,
}

impl Content {
    /// How much an echo is like this message of ours.
    pub fn likeness_of(&self, echo: &Self) -> Likeness {
        let words = |same: bool| if same { Likeness::Words } else { Likeness::None };
        let kind = |same: bool| if same { Likeness::Kind } else { Likeness::None };
        match (self, echo) {
            (Self::Text { text, .. } | Self::QuickReplies { text, .. }, Self::Text { text: echoed, .. }) => {
                words(text == echoed)
            }
            (Self::CommentReply(ours) | Self::PrivateReply(ours), Self::Text { text: echoed, .. }) => {
                words(ours.text == *echoed)
            }
            (Self::Buttons(ours), Self::Buttons(echoed)) => words(ours.text == echoed.text),
            (Self::Carousel(ours), Self::Carousel(echoed)) => words(titles(ours) == titles(echoed)),
            // A template whose echo cannot be read further.
            (Self::Buttons(_) | Self::Carousel(_), Self::Share { share, .. }) => kind(share == "template"),
            (
                Self::Share { media_id, .. },
                Self::Share {
                    share, media_id: told, ..
                },
            ) => match told {
                Some(told) => words(media_id.as_ref() == Some(told)),
                None => kind(share == "post" || share == "media"),
            },
            (Self::Image(_), Self::Image(_))
            | (Self::Video(_), Self::Video(_))
            | (Self::Audio(_), Self::Audio(_))
            | (Self::Document(_), Self::Document(_))
            | (Self::Sticker(_), Self::Sticker(_)) => Likeness::Kind,
            (Self::Several { parts, .. }, Self::Several { parts: echoed, .. }) => {
                let same = |(ours, echoed): (&Self, &Self)| ours.kind() == echoed.kind();
                kind(parts.len() == echoed.len() && parts.iter().zip(echoed).all(same))
            }
            _ => Likeness::None,
        }
    }
}

fn titles(carousel: &Carousel) -> Vec<Option<&str>> {
    carousel.cards.iter().map(|card| card.title.as_deref()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::ids::MessageId;

    fn content(document: Value) -> Content {
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn an_echo_is_like_what_it_says_again() {
        let card = |title: &str| json!({"type": "carousel", "cards": [{"title": title}]});
        let cases = [
            (
                json!({"type": "text", "text": "a"}),
                json!({"type": "text", "text": "a"}),
                Likeness::Words,
            ),
            (
                json!({"type": "text", "text": "a"}),
                json!({"type": "text", "text": "b"}),
                Likeness::None,
            ),
            (
                json!({"type": "quick_replies", "text": "a", "quickReplies": []}),
                json!({"type": "text", "text": "a"}),
                Likeness::Words,
            ),
            (
                json!({"type": "comment_reply", "messageId": MessageId::MIN, "text": "a"}),
                json!({"type": "text", "text": "a"}),
                Likeness::Words,
            ),
            (
                json!({"type": "private_reply", "messageId": MessageId::MIN, "text": "a"}),
                json!({"type": "text", "text": "b"}),
                Likeness::None,
            ),
            (
                json!({"type": "image", "link": "https://a.example/1"}),
                json!({"type": "image", "link": "https://cdn.example/x"}),
                Likeness::Kind,
            ),
            (
                json!({"type": "image", "link": "https://a.example/1"}),
                json!({"type": "video"}),
                Likeness::None,
            ),
            (json!({"type": "sticker"}), json!({"type": "sticker"}), Likeness::Kind),
            (card("a"), card("a"), Likeness::Words),
            (card("a"), card("b"), Likeness::None),
            (card("a"), json!({"type": "share", "share": "template"}), Likeness::Kind),
            (
                json!({"type": "share", "share": "post", "mediaId": "17"}),
                json!({"type": "share", "share": "post", "mediaId": "17"}),
                Likeness::Words,
            ),
            (
                json!({"type": "share", "share": "post", "mediaId": "17"}),
                json!({"type": "share", "share": "post", "mediaId": "18"}),
                Likeness::None,
            ),
            (
                json!({"type": "several", "parts": [{"type": "image"}, {"type": "image"}]}),
                json!({"type": "several", "parts": [{"type": "image"}]}),
                Likeness::None,
            ),
        ];
        for (ours, echo, expected) in cases {
            let likeness = content(ours.clone()).likeness_of(&content(echo.clone()));
            assert_eq!(likeness, expected, "{ours} {echo}");
        }
    }
}
