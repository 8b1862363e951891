//! The limits of what one message may hold, as data: whatsapp.md 9 and 10.1, instagram.md 3.2.
//!
//! Every check of a length or a count goes through one of these rows, and the tests walk over all of them: what is just within is
//! taken, what is just beyond is refused with the row's code. How fast and how much may be sent is another matter (`limits`), and so are
//! files (`media`).

use serde_json::Value;

use super::error::GraphError;
use crate::customers::people::Channel;

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitUnit {
    /// Letters, as people count them: Unicode scalar values.
    Characters,
    /// Bytes of UTF-8.
    Bytes,
    /// Line breaks.
    LineBreaks,
    /// Entries of a list.
    Items,
}

/// How long a text, or how many of something, a message may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageLimit {
    /// Where.
    pub channel: Channel,
    /// The parameter, by its path in the request.
    pub name: &'static str,
    /// What is counted.
    pub unit: LimitUnit,
    /// The least.
    pub min: usize,
    /// The most.
    pub max: usize,
    /// The error's code for more than that; for less it is the same, or that of a missing parameter.
    pub code: i64,
}

impl MessageLimit {
    const fn new(channel: Channel, unit: LimitUnit, name: &'static str, min: usize, max: usize, code: i64) -> Self {
        Self {
            channel,
            name,
            unit,
            min,
            max,
            code,
        }
    }

    fn count(&self, text: &str) -> usize {
        match self.unit {
            LimitUnit::Bytes => text.len(),
            LimitUnit::LineBreaks => text.matches('\n').count(),
            LimitUnit::Characters | LimitUnit::Items => text.chars().count(),
        }
    }

    /// The text under this key, if it is one of this length; a missing one is as long as an empty one.
    pub(crate) fn text(&self, part: &Value, key: &str) -> Result<String, GraphError> {
        let text = match &part[key] {
            Value::Null => "",
            Value::String(text) => text,
            _ => return Err(self.refusal("must be a string")),
        };
        self.check(text)?;
        Ok(text.to_owned())
    }

    /// The same, where the parameter may be left out.
    pub(crate) fn optional(&self, part: &Value, key: &str) -> Result<Option<String>, GraphError> {
        match &part[key] {
            Value::Null => Ok(None),
            _ => self
                .text(part, key)
                .map(|text| Some(text).filter(|text| !text.is_empty())),
        }
    }

    pub(crate) fn check(&self, text: &str) -> Result<(), GraphError> {
        let count = self.count(text);
        if count < self.min {
            return Err(GraphError::parameter(format!(
                "The parameter {} is required.",
                self.shown_name()
            )));
        }
        if count > self.max {
            let unit = match self.unit {
                LimitUnit::Bytes => "bytes long",
                LimitUnit::LineBreaks => "line breaks",
                LimitUnit::Characters | LimitUnit::Items => "characters long",
            };
            return Err(self.refusal(&format!("must be at most {} {unit}", self.max)));
        }
        Ok(())
    }

    /// The list, if it is one with as many entries.
    pub(crate) fn items<'a>(&self, value: &'a Value) -> Result<&'a Vec<Value>, GraphError> {
        value
            .as_array()
            .filter(|items| (self.min..=self.max).contains(&items.len()))
            .ok_or_else(|| self.count_refusal())
    }

    /// The refusal of a list that is too short or too long.
    pub(crate) fn count_refusal(&self) -> GraphError {
        self.refusal(&format!("must have {} to {} items", self.min, self.max))
    }

    fn refusal(&self, what: &str) -> GraphError {
        if self.code == 100 {
            GraphError::parameter(format!("Param {} {what}.", self.shown_name()))
        } else {
            GraphError::whatsapp(self.code, format!("{} {what}", self.name))
        }
    }

    /// As Graph writes it in its texts: `template['language']['code']`.
    fn shown_name(&self) -> String {
        let mut parts = self.name.split('.');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |name, part| format!("{name}['{part}']"))
    }
}

const fn letters(name: &'static str, min: usize, max: usize) -> MessageLimit {
    MessageLimit::new(Channel::WhatsApp, LimitUnit::Characters, name, min, max, 100)
}

const fn items(name: &'static str, min: usize, max: usize) -> MessageLimit {
    MessageLimit::new(Channel::WhatsApp, LimitUnit::Items, name, min, max, 131_009)
}

const fn on_instagram(unit: LimitUnit, name: &'static str, min: usize, max: usize) -> MessageLimit {
    MessageLimit::new(Channel::Instagram, unit, name, min, max, 100)
}

macro_rules! limits {
    ($($(#[$about:meta])* $name:ident = $limit:expr;)*) => {
        $($(#[$about])* pub(crate) const $name: MessageLimit = $limit;)*

        /// Every limit of what one message may hold.
        pub const MESSAGE_LIMITS: &[MessageLimit] = &[$($name),*];
    };
}

limits! {
    // whatsapp.md 9.1, 9.2
    CALLBACK_DATA = letters("biz_opaque_callback_data", 0, 512);
    TEXT_BODY = letters("text.body", 1, 4096);
    CAPTION = letters("caption", 0, 1024);
    CONTACTS = items("contacts", 1, 257);
    // whatsapp.md 9.3
    BODY = letters("interactive.body.text", 1, 1024);
    LIST_BODY = letters("interactive.body.text of a list", 1, 4096);
    HEADER = letters("interactive.header.text", 1, 60);
    FOOTER = letters("interactive.footer.text", 1, 60);
    BUTTONS = items("interactive.action.buttons", 1, 3);
    BUTTON_TITLE = letters("interactive.action.buttons.reply.title", 1, 20);
    BUTTON_ID = letters("interactive.action.buttons.reply.id", 1, 256);
    LIST_BUTTON = letters("interactive.action.button", 1, 20);
    SECTIONS = items("interactive.action.sections", 1, 10);
    SECTION_TITLE = letters("interactive.action.sections.title", 1, 24);
    /// Over all sections of a list.
    ROWS = items("interactive.action.sections.rows", 1, 10);
    ROW_ID = letters("interactive.action.sections.rows.id", 1, 200);
    ROW_TITLE = letters("interactive.action.sections.rows.title", 1, 24);
    ROW_DESCRIPTION = letters("interactive.action.sections.rows.description", 0, 72);
    DISPLAY_TEXT = letters("interactive.action.parameters.display_text", 1, 20);
    /// The reference names it for the links of templates (whatsapp.md 10.2).
    URL = letters("interactive.action.parameters.url", 1, 2000);
    /// Over all sections.
    PRODUCTS = items("interactive.action.sections.product_items", 1, 30);
    PRODUCT_SECTIONS = items("interactive.action.sections of products", 1, 10);
    CARDS = items("interactive.action.cards", 2, 10);
    CARD_BODY = letters("interactive.action.cards.body.text", 0, 160);
    CARD_BREAKS = MessageLimit::new(
        Channel::WhatsApp, LimitUnit::LineBreaks, "interactive.action.cards.body.text lines", 0, 2, 100,
    );
    CARD_BUTTON = letters("interactive.action.cards.action.parameters.display_text", 1, 20);
    // whatsapp.md 10.1
    TEMPLATE_BODY = MessageLimit::new(
        Channel::WhatsApp, LimitUnit::Characters, "template.body", 0, 1024, 132_005,
    );

    // instagram.md 3.2; the limits of templates are Messenger's, which the reference marks as not confirmed for Instagram
    IG_TEXT = on_instagram(LimitUnit::Bytes, "message.text", 1, 1000);
    IG_ATTACHMENTS = on_instagram(LimitUnit::Items, "message.attachments", 1, 10);
    IG_QUICK_REPLIES = on_instagram(LimitUnit::Items, "message.quick_replies", 1, 13);
    IG_ELEMENTS = on_instagram(LimitUnit::Items, "message.attachment.payload.elements", 1, 10);
    IG_TITLE = on_instagram(LimitUnit::Characters, "message.attachment.payload.elements.title", 1, 80);
    IG_SUBTITLE = on_instagram(LimitUnit::Characters, "message.attachment.payload.elements.subtitle", 0, 80);
    IG_BUTTONS = on_instagram(LimitUnit::Items, "message.attachment.payload.buttons", 1, 3);
    IG_BUTTON_TITLE = on_instagram(LimitUnit::Characters, "message.attachment.payload.buttons.title", 1, 20);
    IG_BUTTON_TEXT = on_instagram(LimitUnit::Characters, "message.attachment.payload.text", 1, 640);
    /// Of a comment (instagram.md 4).
    IG_COMMENT = on_instagram(LimitUnit::Characters, "comment.message", 1, 300);
}
