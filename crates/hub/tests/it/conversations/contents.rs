//! What every recorded message says: each kind of Meta's becomes a kind of ours, with the words in it.

use std::collections::BTreeMap;

use serde_json::Value;
use tidings::conversations::understand::{Effect, Envelope, understand};
use tidings_meta::notification::{Platform, split};

use crate::harness::fixtures;

/// What the messages of a recorded notification say, in order.
fn said(platform: Platform, body: &str) -> Vec<Value> {
    let events = split(platform, body.as_bytes()).unwrap_or_default();
    let effects = events.iter().filter_map(|event| {
        let envelope = Envelope {
            platform,
            external_id: &event.external_id,
            received_at: 0,
            raw: &event.raw,
        };
        understand(envelope).ok().map(|understood| understood.effect)
    });
    effects
        .filter_map(|effect| match effect {
            Effect::Said(said) => Some(serde_json::to_value(&said.content).unwrap()),
            _ => None,
        })
        .collect()
}

/// The kinds of what is said, with those of its parts.
fn kinds(content: &Value) -> String {
    let kind = content["type"].as_str().unwrap();
    let parts = content["parts"].as_array().into_iter().flatten();
    let parts: Vec<String> = parts.map(kinds).collect();
    let share = content["share"]
        .as_str()
        .map(|share| format!(" {share}"))
        .unwrap_or_default();
    if parts.is_empty() {
        format!("{kind}{share}")
    } else {
        format!("{kind}({})", parts.join(" "))
    }
}

#[test]
fn each_recorded_message_is_of_the_kind_that_it_is() {
    let expected: [(Platform, &[(&str, &str)]); 2] = [
        (
            Platform::WhatsApp,
            &[
                ("message_address_reply", "form"),
                ("message_audio_file", "audio"),
                ("message_audio_voice", "audio"),
                ("message_button", "reply"),
                ("message_button_reply", "reply"),
                ("message_call_permission", "call_permission"),
                ("message_contacts", "contacts"),
                ("message_contacts_requested", "contacts"),
                ("message_document", "document"),
                ("message_flow_reply", "form"),
                ("message_image", "image"),
                ("message_list_reply", "reply"),
                ("message_location_bare", "location"),
                ("message_location_picked", "location"),
                ("message_order", "order"),
                ("message_reply", "text"),
                ("message_sticker_animated", "sticker"),
                ("message_text", "text"),
                ("message_video", "video"),
                ("unsupported_poll", "unsupported"),
                ("unsupported_older_spelling", "unsupported"),
                ("message_type_unknown", "unknown"),
            ],
        ),
        (
            Platform::Instagram,
            &[
                ("message_audio", "audio"),
                ("message_ephemeral", "unsupported"),
                ("message_fallback", "share fallback"),
                ("message_file", "several(document)"),
                ("message_ig_post", "share post"),
                ("message_ig_reel", "share reel"),
                ("message_ig_story", "share story"),
                ("message_image", "image"),
                ("message_like_heart", "sticker"),
                ("message_quick_reply", "reply"),
                ("message_reel", "share reel"),
                ("message_reply_to_message", "text"),
                ("message_reply_to_story", "several(share story_reply)"),
                ("message_several_images", "several(image image)"),
                ("message_share", "share post"),
                ("message_share_and_ig_post", "share post"),
                ("message_sticker", "sticker"),
                ("message_story", "share story"),
                ("echo_template", "carousel"),
                ("postback_title_only", "reply"),
            ],
        ),
    ];
    for (platform, expected) in expected {
        let recorded: BTreeMap<String, Vec<String>> = fixtures(&platform.to_string())
            .into_iter()
            .map(|fixture| {
                let said = said(platform, &fixture.body);
                let name = fixture.name.split('/').next_back().unwrap().to_owned();
                (name, said.iter().map(kinds).collect())
            })
            .collect();
        for (name, kind) in expected {
            let found = recorded
                .get(*name)
                .unwrap_or_else(|| panic!("there is no record {name}"));
            assert!(
                !found.is_empty() && found.iter().all(|found| found == kind),
                "{name}: {found:?}, and not {kind}"
            );
        }
        // Whatever else was recorded is of a known kind too, unless it was recorded because it is not.
        let strange: Vec<&String> = recorded
            .iter()
            .filter(|(_, kinds)| kinds.iter().any(|kind| kind.contains("unknown")))
            .map(|(name, _)| name)
            .filter(|name| {
                !["unknown", "wrong", "missing", "times_in_seconds"]
                    .iter()
                    .any(|word| name.contains(word))
            })
            .collect();
        assert!(strange.is_empty(), "{platform}: {strange:?}");
    }
}
