//! What each product takes as a file: types and sizes, as data. Pure.
//!
//! Facts: reference `whatsapp.md` 11, `instagram.md` 3.2.

use crate::channels::model::ChannelKind;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// What a product takes as one kind of content.
struct Limit {
    channel: ChannelKind,
    content: &'static str,
    /// Empty: any type.
    mime_types: &'static [&'static str],
    bytes_max: u64,
}

const LIMITS: &[Limit] = &[
    Limit {
        channel: ChannelKind::WhatsApp,
        content: "image",
        mime_types: &["image/jpeg", "image/png"],
        bytes_max: 5 * MIB,
    },
    Limit {
        channel: ChannelKind::WhatsApp,
        content: "video",
        mime_types: &["video/mp4", "video/3gpp"],
        bytes_max: 16 * MIB,
    },
    Limit {
        channel: ChannelKind::WhatsApp,
        content: "audio",
        mime_types: &["audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg"],
        bytes_max: 16 * MIB,
    },
    // "Other types often pass as document."
    Limit {
        channel: ChannelKind::WhatsApp,
        content: "document",
        mime_types: &[],
        bytes_max: 100 * MIB,
    },
    // That one is animated is not looked for: Meta takes a smaller one then, and says so.
    Limit {
        channel: ChannelKind::WhatsApp,
        content: "sticker",
        mime_types: &["image/webp"],
        bytes_max: 500 * KIB,
    },
    Limit {
        channel: ChannelKind::Instagram,
        content: "image",
        mime_types: &["image/png", "image/jpeg", "image/gif"],
        bytes_max: 8 * MIB,
    },
    Limit {
        channel: ChannelKind::Instagram,
        content: "audio",
        mime_types: &["audio/aac", "audio/mp4", "audio/wav"],
        bytes_max: 25 * MIB,
    },
    Limit {
        channel: ChannelKind::Instagram,
        content: "video",
        mime_types: &[
            "video/mp4",
            "video/ogg",
            "video/x-msvideo",
            "video/quicktime",
            "video/webm",
        ],
        bytes_max: 25 * MIB,
    },
    Limit {
        channel: ChannelKind::Instagram,
        content: "document",
        mime_types: &["application/pdf"],
        bytes_max: 25 * MIB,
    },
    // A mail has a link to it: whoever reads it fetches it from here.
    Limit {
        channel: ChannelKind::Email,
        content: "image",
        mime_types: &["image/png", "image/jpeg", "image/gif", "image/webp"],
        bytes_max: 25 * MIB,
    },
];

/// What is wrong with sending a file of this type and size as this kind of content; `None` if nothing is.
pub fn fault(channel: ChannelKind, content: &str, mime_type: &str, size: u64) -> Option<String> {
    let Some(limit) = LIMITS
        .iter()
        .find(|limit| limit.channel == channel && limit.content == content)
    else {
        return Some(format!("cannot be sent on {channel} as `{content}`"));
    };
    if !limit.mime_types.is_empty() && !limit.mime_types.contains(&mime_type) {
        let takes = limit.mime_types.join(", ");
        return Some(format!(
            "is a file of the type {mime_type}; `{content}` on {channel} takes {takes}"
        ));
    }
    if size == 0 || size > limit.bytes_max {
        return Some(format!(
            "is a file of {size} bytes; `{content}` on {channel} takes 1 to {}",
            limit.bytes_max
        ));
    }
    None
}

/// What Instagram is told that an attachment is (reference `instagram.md` 3.2).
pub fn attachment_kind(content: &str) -> &'static str {
    match content {
        "image" => "image",
        "video" => "video",
        "audio" => "audio",
        _ => "file",
    }
}

#[cfg(test)]
mod tests {
    use super::{LIMITS, fault};
    use crate::channels::model::ChannelKind;

    #[test]
    fn every_limit_holds_on_both_sides_of_it() {
        for limit in LIMITS {
            let mime_type = limit.mime_types.first().unwrap_or(&"application/x-anything");
            let check = |mime_type, size| fault(limit.channel, limit.content, mime_type, size);
            assert_eq!(check(mime_type, limit.bytes_max), None);
            assert_eq!(check(mime_type, 1), None);
            for size in [0, limit.bytes_max + 1] {
                let why = check(mime_type, size).unwrap();
                assert!(why.contains(&limit.bytes_max.to_string()), "{why}");
            }
            if !limit.mime_types.is_empty() {
                let why = check("application/x-anything", 1).unwrap();
                assert!(why.contains(mime_type), "{why}");
            }
        }
    }

    #[test]
    fn what_a_product_does_not_have_is_refused() {
        for (channel, content) in [
            (ChannelKind::Instagram, "sticker"),
            (ChannelKind::Email, "video"),
            (ChannelKind::WhatsApp, "text"),
        ] {
            assert!(fault(channel, content, "image/webp", 1).is_some());
        }
    }
}
