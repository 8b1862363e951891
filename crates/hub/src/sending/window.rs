//! What may be said to a contact at a time: the window, and what is allowed beyond it. Pure.
//!
//! The window ends 24 hours after what opened it, by Meta's clock (reference `whatsapp.md` 13.4, `instagram.md` 3.4). What opens it is decided
//! where events are understood ([`crate::conversations::understand`]): messages, presses of buttons, replies to stories, postbacks, calls, and
//! what WhatsApp does not pass on (`unsupported`); not echoes, statuses, reactions, edits, system notices, or imported history.
//!
//! WhatsApp's free entry point (72 hours after the answer to somebody who came by an advertisement) makes messages free of charge, and allows
//! none that the window does not: "free-form inside it still needs an open window" (reference `whatsapp.md` 13.4). So it decides nothing here.
//!
//! It is looked at twice: when a message is accepted ([`at_accept`]), with a margin, since Meta's clock and ours differ; and when it is about to
//! be sent ([`at_send`]), without one: then nothing is lost by asking Meta, who has the last word.

use crate::channels::model::ChannelKind;
use crate::conversations::content::{Content, Template};
use crate::conversations::model::{Failure, Millis, Sender, WINDOW_MILLIS};
use crate::sending::model::Fallback;

/// How long before its end a window counts as closed for what is accepted (reference `whatsapp.md` 13.4).
pub const MARGIN_MILLIS: Millis = 60 * 1000;
/// How long a person may answer on Instagram, with the tag `HUMAN_AGENT` (reference `instagram.md` 3.4, 3.5).
pub const HUMAN_AGENT_MILLIS: Millis = 7 * 24 * 60 * 60 * 1000;

/// How a message may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// As it is.
    Plain,
    /// With the tag `HUMAN_AGENT`: a person wrote it, and the day has passed, but not the week.
    HumanAgent,
}

/// What to do with a message that is about to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtSend {
    /// Send it.
    Send(Permit),
    /// Send its template in its place.
    SendInstead,
    /// It can no longer be sent.
    Closed,
}

/// How a message may be sent at a time; `None` if it may not. `window_ends_at` is that of its conversation, `None` if there never was one.
pub fn permit(
    kind: ChannelKind,
    sender: Sender,
    content: &Content,
    window_ends_at: Option<Millis>,
    now: Millis,
) -> Option<Permit> {
    // E-mail knows no window, and a comment may be answered without one (reference `instagram.md` 3.6).
    if matches!(content, Content::Template(_)) || content.answers_comment().is_some() || kind == ChannelKind::Email {
        return Some(Permit::Plain);
    }
    let ends_at = window_ends_at?;
    let opened_at = ends_at - WINDOW_MILLIS;
    if now < ends_at {
        Some(Permit::Plain)
    } else if kind == ChannelKind::Instagram
        && sender == Sender::Operator
        // A reaction takes no tag (reference `instagram.md` 3.3).
        && !content.is_aside()
        && now < opened_at + HUMAN_AGENT_MILLIS
    {
        Some(Permit::HumanAgent)
    } else {
        None
    }
}

/// Whether a message may be accepted at a time: it may be sent now, with a margin, or something else can be sent in its place.
pub fn at_accept(
    kind: ChannelKind,
    sender: Sender,
    content: &Content,
    fallback: Option<&Template>,
    window_ends_at: Option<Millis>,
    now: Millis,
) -> bool {
    // The last moment of the margin is the first at which the window counts as closed.
    let late = now + MARGIN_MILLIS - 1;
    permit(kind, sender, content, window_ends_at, late).is_some()
        || (kind == ChannelKind::WhatsApp && fallback.is_some())
}

/// What to do with a message that is about to be sent.
pub fn at_send(
    kind: ChannelKind,
    sender: Sender,
    content: &Content,
    fallback: Option<&Fallback>,
    window_ends_at: Option<Millis>,
    now: Millis,
) -> AtSend {
    match (permit(kind, sender, content, window_ends_at, now), fallback) {
        (Some(permit), _) => AtSend::Send(permit),
        (None, Some(Fallback { taken: None, .. })) if kind == ChannelKind::WhatsApp => AtSend::SendInstead,
        (None, _) => AtSend::Closed,
    }
}

/// Why a message fails whose window has closed: with Meta's own code, so that it is explained as if Meta had refused it.
pub fn closed(kind: ChannelKind) -> Failure {
    let (code, subcode) = match kind {
        ChannelKind::WhatsApp => (131_047, None),
        ChannelKind::Instagram => (10, Some(2_534_022)),
        ChannelKind::Email => (0, None),
    };
    Failure {
        code,
        subcode,
        text: "the window for free-form messages closed before it could be sent".to_owned(),
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::channels::model::ChannelKind::{Instagram, WhatsApp};
    use crate::conversations::content::React;
    use crate::ids::MessageId;
    use crate::sending::model::FallbackTaken;

    const OPENED: Millis = 1_795_400_000_000;
    const ENDS: Option<Millis> = Some(OPENED + WINDOW_MILLIS);

    fn template() -> Template {
        Template {
            name: "hello_world".into(),
            language: "en_US".into(),
            components: Vec::new(),
        }
    }

    fn words() -> Content {
        Content::text("Hi")
    }

    #[test]
    fn the_window_is_open_for_a_day() {
        for platform in [WhatsApp, Instagram] {
            let at = |now| permit(platform, Sender::Api, &words(), ENDS, now);
            assert_eq!(at(OPENED), Some(Permit::Plain));
            assert_eq!(at(OPENED + WINDOW_MILLIS - 1), Some(Permit::Plain));
            assert_eq!(at(OPENED + WINDOW_MILLIS), None);
            assert_eq!(permit(platform, Sender::Api, &words(), None, OPENED), None);
        }
    }

    #[test]
    fn what_is_accepted_has_a_minute_to_spare() {
        let at = |now| at_accept(WhatsApp, Sender::Api, &words(), None, ENDS, now);
        assert!(at(OPENED + WINDOW_MILLIS - MARGIN_MILLIS));
        assert!(!at(OPENED + WINDOW_MILLIS - MARGIN_MILLIS + 1));
        let tagged = |now| at_accept(Instagram, Sender::Operator, &words(), None, ENDS, now);
        assert!(tagged(OPENED + HUMAN_AGENT_MILLIS - MARGIN_MILLIS));
        assert!(!tagged(OPENED + HUMAN_AGENT_MILLIS - MARGIN_MILLIS + 1));
    }

    #[test]
    fn a_template_needs_no_window_and_stands_in_for_what_does() {
        let now = OPENED + 3 * WINDOW_MILLIS;
        let content = Content::Template(template());
        assert!(at_accept(WhatsApp, Sender::Api, &content, None, None, now));
        assert!(at_accept(WhatsApp, Sender::Api, &words(), Some(&template()), ENDS, now));
        assert!(!at_accept(
            Instagram,
            Sender::Api,
            &words(),
            Some(&template()),
            ENDS,
            now
        ));
        let at = |fallback: Option<&Fallback>, now| at_send(WhatsApp, Sender::Api, &words(), fallback, ENDS, now);
        let mut fallback = Fallback {
            template: template(),
            taken: None,
        };
        let closing = OPENED + WINDOW_MILLIS;
        assert_eq!(at(Some(&fallback), closing - 1), AtSend::Send(Permit::Plain));
        assert_eq!(at(Some(&fallback), closing), AtSend::SendInstead);
        assert_eq!(at(None, closing), AtSend::Closed);
        fallback.taken = Some(FallbackTaken {
            at: now,
            reason: String::new(),
            said: words(),
        });
        assert_eq!(at(Some(&fallback), closing), AtSend::Closed, "it is taken once");
        let untaken = Fallback {
            template: template(),
            taken: None,
        };
        assert_eq!(
            at_send(Instagram, Sender::Api, &words(), Some(&untaken), ENDS, now),
            AtSend::Closed,
            "Instagram has no templates"
        );
    }

    #[test]
    fn only_what_a_person_wrote_is_tagged_and_only_within_the_week() {
        let at = |platform, sender, now| permit(platform, sender, &words(), ENDS, now);
        assert_eq!(
            at(Instagram, Sender::Operator, OPENED + WINDOW_MILLIS - 1),
            Some(Permit::Plain)
        );
        assert_eq!(
            at(Instagram, Sender::Operator, OPENED + WINDOW_MILLIS),
            Some(Permit::HumanAgent)
        );
        assert_eq!(
            at(Instagram, Sender::Operator, OPENED + HUMAN_AGENT_MILLIS - 1),
            Some(Permit::HumanAgent)
        );
        assert_eq!(at(Instagram, Sender::Operator, OPENED + HUMAN_AGENT_MILLIS), None);
        for sender in [Sender::Api, Sender::Ai, Sender::Workflow] {
            assert_eq!(at(Instagram, sender, OPENED + WINDOW_MILLIS), None);
        }
        assert_eq!(at(WhatsApp, Sender::Operator, OPENED + WINDOW_MILLIS), None);
        let reaction = Content::Reaction(React {
            message_id: MessageId::MIN,
            emoji: None,
        });
        let at = |now| permit(Instagram, Sender::Operator, &reaction, ENDS, now);
        assert_eq!(at(OPENED + WINDOW_MILLIS - 1), Some(Permit::Plain));
        assert_eq!(at(OPENED + WINDOW_MILLIS), None, "a reaction takes no tag");
    }

    #[test]
    fn a_closed_window_is_explained_as_meta_does() {
        for platform in [WhatsApp, Instagram] {
            let failure = closed(platform);
            let product = platform.platform().expect("both are products of Meta");
            let class = tidings_meta::error::explain_code(product, failure.code, failure.subcode).class;
            assert_eq!(class, tidings_meta::error::Class::WindowClosed);
        }
    }
}
