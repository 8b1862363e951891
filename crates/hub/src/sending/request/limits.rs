//! Every bound of a message's content: one table, and the walk that holds a message to it.
//!
//! A row names the product, the kinds, the field as callers write it, what is counted, the bounds, and where they are from. [`faults`] looks at a
//! content as the JSON document that it is, so that a row is all that a new bound needs; `docs/reference/limits.md` is made of the same rows.
//!
//! What is no number (what belongs together, what excludes each other) is in `check`.

use serde_json::Value;

use super::Fault;
use crate::channels::model::ChannelKind;
use crate::channels::model::ChannelKind::{Email, Instagram, WhatsApp};

/// A bound.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// Of which product.
    pub product: ChannelKind,
    /// Of which kinds of content.
    pub kinds: &'static [&'static str],
    /// Of which field: a path in the content, `[]` for every element of a list.
    pub field: &'static str,
    /// What is counted.
    pub unit: Unit,
    /// The least that there may be, of a field that is there.
    pub least: i32,
    /// The most.
    pub most: i32,
    /// Where it is from.
    pub source: &'static str,
}

/// What a bound counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Characters of a text.
    Characters,
    /// Bytes of a text, in UTF-8.
    Bytes,
    /// Breaks between the lines of a text.
    LineBreaks,
    /// Elements of a list.
    Elements,
    /// Elements of all lists of this name together.
    ElementsInAll,
    /// Degrees of an angle.
    Degrees,
    /// Hashtags in a text.
    Hashtags,
    /// Web addresses in a text.
    Links,
}

impl Unit {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Characters => "characters",
            Self::Bytes => "bytes",
            Self::LineBreaks => "line breaks",
            Self::Elements => "elements",
            Self::ElementsInAll => "elements in all",
            Self::Degrees => "degrees",
            Self::Hashtags => "hashtags",
            Self::Links => "links",
        }
    }

    /// How much there is of it; `None` where nothing of the kind can be counted.
    fn measure(self, value: &Value) -> Option<f64> {
        let text = || value.as_str();
        let count = match self {
            Self::Characters => text()?.chars().count(),
            Self::Bytes => text()?.len(),
            Self::LineBreaks => text()?.matches('\n').count(),
            Self::Hashtags => text()?.split('#').skip(1).filter(|tag| is_tag(tag)).count(),
            Self::Links => text()?.split_whitespace().filter(|word| is_link(word)).count(),
            Self::Elements | Self::ElementsInAll => value.as_array()?.len(),
            Self::Degrees => return value.as_f64(),
        };
        Some(count as f64)
    }
}

/// Whether what follows a `#` makes a hashtag of it.
fn is_tag(rest: &str) -> bool {
    rest.starts_with(|letter: char| letter.is_alphanumeric() || letter == '_')
}

fn is_link(word: &str) -> bool {
    let word = word.trim_start_matches(|letter: char| !letter.is_alphanumeric());
    ["http://", "https://", "www."].iter().any(|start| {
        word.len() > start.len()
            && word.is_char_boundary(start.len())
            && word[..start.len()].eq_ignore_ascii_case(start)
    })
}

const OWN: &str = "Tidings' own";

macro_rules! limits {
    ($($product:ident $($kind:literal)|+ $field:literal $unit:ident $least:literal .. $most:literal $source:expr;)*) => {
        &[$(Limit {
            product: $product,
            kinds: &[$($kind),+],
            field: $field,
            unit: Unit::$unit,
            least: $least,
            most: $most,
            source: $source,
        },)*]
    };
}

/// Every bound, by product and kind.
pub const LIMITS: &[Limit] = limits! {
    WhatsApp "text" "text" Characters 1..4096 "`whatsapp.md` 9.2";
    WhatsApp "image"|"video"|"document" "caption" Characters 1..1024 "`whatsapp.md` 9.2";
    WhatsApp "document" "filename" Characters 1..240 OWN;
    WhatsApp "location" "latitude" Degrees -90..90 OWN;
    WhatsApp "location" "longitude" Degrees -180..180 OWN;
    WhatsApp "contacts" "contacts" Elements 1..257 "`whatsapp.md` 9.2";
    WhatsApp "template" "name" Characters 1..512 "`whatsapp.md` 10.2";
    WhatsApp "template" "language" Characters 1..20 OWN;
    WhatsApp "reaction" "emoji" Characters 0..16 OWN;
    WhatsApp "buttons"|"flow"|"product"|"product_list"|"catalog"|"location_request"|"contact_request"|"address_request"|"call_permission_request"|"carousel"
        "text" Characters 1..1024 "`whatsapp.md` 9.3";
    WhatsApp "list" "text" Characters 1..4096 "`whatsapp.md` 9.3";
    WhatsApp "buttons"|"list"|"flow"|"product_list" "header.text" Characters 1..60 "`whatsapp.md` 9.3";
    WhatsApp "buttons"|"list"|"flow"|"product"|"product_list"|"catalog" "footer" Characters 1..60 "`whatsapp.md` 9.3";
    WhatsApp "buttons" "buttons" Elements 1..3 "`whatsapp.md` 9.3";
    WhatsApp "buttons" "buttons[].title" Characters 1..20 "`whatsapp.md` 9.3";
    WhatsApp "buttons" "buttons[].payload" Characters 1..256 "`whatsapp.md` 9.3";
    WhatsApp "buttons" "buttons[].url" Characters 1..2000 "`whatsapp.md` 10.2";
    WhatsApp "list" "button" Characters 1..20 "`whatsapp.md` 9.3";
    WhatsApp "list" "sections" Elements 1..10 "`whatsapp.md` 9.3";
    WhatsApp "list" "sections[].title" Characters 1..24 "`whatsapp.md` 9.3";
    WhatsApp "list" "sections[].rows" ElementsInAll 1..10 "`whatsapp.md` 9.3";
    WhatsApp "list" "sections[].rows[].title" Characters 1..24 "`whatsapp.md` 9.3";
    WhatsApp "list" "sections[].rows[].payload" Characters 1..200 "`whatsapp.md` 9.3";
    WhatsApp "list" "sections[].rows[].description" Characters 1..72 "`whatsapp.md` 9.3";
    WhatsApp "carousel" "cards" Elements 2..10 "`whatsapp.md` 9.3";
    WhatsApp "carousel" "cards[].text" Characters 1..160 "`whatsapp.md` 9.3";
    WhatsApp "carousel" "cards[].text" LineBreaks 0..2 "`whatsapp.md` 9.3";
    WhatsApp "carousel" "cards[].buttons[].title" Characters 1..20 "`whatsapp.md` 9.3";
    WhatsApp "carousel" "cards[].buttons[].url" Characters 1..2000 "`whatsapp.md` 10.2";
    WhatsApp "flow" "button" Characters 1..30 "`whatsapp.md` 9.3";
    WhatsApp "product_list" "sections" Elements 1..10 "`whatsapp.md` 9.3";
    WhatsApp "product_list" "sections[].title" Characters 1..24 "`whatsapp.md` 9.3";
    WhatsApp "product_list" "sections[].products" ElementsInAll 1..30 "`whatsapp.md` 9.3";

    Instagram "text"|"quick_replies" "text" Bytes 1..1000 "`instagram.md` 3.2";
    Instagram "quick_replies" "quickReplies" Elements 1..13 "`instagram.md` 3.2";
    Instagram "quick_replies" "quickReplies[].title" Characters 1..20 "`instagram.md` 3.2";
    Instagram "quick_replies" "quickReplies[].payload" Characters 1..1000 "Messenger's";
    Instagram "several" "parts" Elements 1..10 "`instagram.md` 3.2";
    Instagram "buttons" "text" Characters 1..640 "`instagram.md` 3.2";
    Instagram "buttons" "buttons" Elements 1..3 "`instagram.md` 3.2";
    Instagram "buttons" "buttons[].title" Characters 1..20 "`instagram.md` 3.2";
    Instagram "buttons" "buttons[].payload" Characters 1..1000 "Messenger's";
    Instagram "carousel" "cards" Elements 1..10 "`instagram.md` 3.2";
    Instagram "carousel" "cards[].title" Characters 1..80 "`instagram.md` 3.2";
    Instagram "carousel" "cards[].text" Characters 1..80 "`instagram.md` 3.2";
    Instagram "carousel" "cards[].buttons" Elements 1..3 "`instagram.md` 3.2";
    Instagram "carousel" "cards[].buttons[].title" Characters 1..20 "`instagram.md` 3.2";
    Instagram "carousel" "cards[].buttons[].payload" Characters 1..1000 "Messenger's";
    Instagram "reaction" "emoji" Characters 0..16 OWN;
    Instagram "comment_reply" "text" Characters 1..300 "`instagram.md` 4";
    Instagram "comment_reply" "text" Hashtags 0..4 "`instagram.md` 4";
    Instagram "comment_reply" "text" Links 0..1 "`instagram.md` 4";
    Instagram "private_reply" "text" Bytes 1..1000 "`instagram.md` 3.2";

    Email "text"|"quick_replies"|"buttons"|"list" "text" Characters 1..100_000 OWN;
};

/// Where a content of a kind breaks a bound of a product; `document` is the content as callers write it.
pub fn faults(product: ChannelKind, kind: &str, document: &Value) -> Vec<Fault> {
    let mut faults = Vec::new();
    for limit in LIMITS {
        if limit.product == product && limit.kinds.contains(&kind) {
            limit.judge(document, &mut faults);
        }
    }
    faults
}

impl Limit {
    fn judge(&self, document: &Value, faults: &mut Vec<Fault>) {
        let mut found = Vec::new();
        find(document, self.field, "", &mut found);
        if self.unit == Unit::ElementsInAll {
            let counts: Vec<f64> = found.iter().filter_map(|(_, value)| self.unit.measure(value)).collect();
            if !counts.is_empty() {
                faults.extend(self.fault(self.field, counts.iter().sum()));
            }
            return;
        }
        for (field, value) in found {
            // Blanks alone are shown as nothing.
            let is_blank = self.unit == Unit::Characters || self.unit == Unit::Bytes;
            if is_blank && self.least > 0 && value.as_str().is_some_and(|text| text.trim().is_empty()) {
                faults.push(Fault::new(format!("content.{field}"), "must not be empty"));
            } else if let Some(measure) = self.unit.measure(value) {
                faults.extend(self.fault(&field, measure));
            }
        }
    }

    fn fault(&self, field: &str, measure: f64) -> Option<Fault> {
        let (least, most) = (f64::from(self.least), f64::from(self.most));
        if (least..=most).contains(&measure) {
            return None;
        }
        let (unit, least, most) = (self.unit.as_str(), self.least, self.most);
        let detail = match self.unit {
            Unit::Degrees => format!("must be from {least} to {most} degrees; this is {measure}"),
            _ if least > 1 => format!("has {least} to {most} {unit}; this has {measure}"),
            _ if measure < f64::from(least) => format!("has 1 to {most} {unit}; this has none"),
            _ => format!("has {most} {unit} at most; this has {measure}"),
        };
        Some(Fault::new(format!("content.{field}"), detail))
    }
}

/// Finds what a path leads to, each with the path that names it alone. What is not there is nothing.
fn find<'v>(value: &'v Value, path: &str, at: &str, found: &mut Vec<(String, &'v Value)>) {
    let (name, rest) = match path.split_once('.') {
        Some((name, rest)) => (name, Some(rest)),
        None => (path, None),
    };
    let member = name.trim_end_matches("[]");
    let at = if at.is_empty() {
        member.to_owned()
    } else {
        format!("{at}.{member}")
    };
    let Some(inner) = value.get(member).filter(|inner| !inner.is_null()) else {
        return;
    };
    match rest {
        None => found.push((at, inner)),
        Some(rest) if name.ends_with("[]") => {
            for (index, element) in inner.as_array().into_iter().flatten().enumerate() {
                find(element, rest, &format!("{at}[{index}]"), found);
            }
        }
        Some(rest) => find(inner, rest, &at, found),
    }
}
