//! Every bound of a message's content: the hub refuses what breaks it before it is queued, and Meta would have refused the same.

use serde_json::{Value, json};
use tidings::channels::model::ChannelKind;
use tidings::conversations::content::Content;
use tidings::sending::request::limits::{LIMITS, Limit, Unit};
use tidings::sending::request::{Address, body};
use tidings_sandbox::{AccountLimits, Content as SandboxContent, MESSAGE_LIMITS, NewPost, NumberLimits};

use crate::harness::{ACCOUNT, Harness, NUMBER, Setup, on_both_with, text};

#[path = "../../../src/sending/request/tests/samples.rs"]
mod samples;

/// What Meta takes that the hub does not: advice, what Meta cuts short, and what is looked up rather than measured.
const META_TAKES: &[(ChannelKind, &str, &str)] = &[
    // "advised" (reference `whatsapp.md` 9.3).
    (ChannelKind::WhatsApp, "flow", "button"),
    // "truncated above 20 characters" (reference `instagram.md` 3.2).
    (ChannelKind::Instagram, "quick_replies", "quickReplies[].title"),
    // The bound of a template that is made; one of such a name does not exist (reference `whatsapp.md` 10.2).
    (ChannelKind::WhatsApp, "template", "name"),
];

/// The bounds of the simulated Meta that no content of the hub's can reach: what it fills in itself, and what depends on the template.
const UNREACHED: &[&str] = &["biz_opaque_callback_data", "template.body"];

/// The code that Meta answers with to what breaks a bound (reference `whatsapp.md` 14.2, `instagram.md` 7).
fn code(limit: &Limit) -> i64 {
    match (limit.product, limit.unit) {
        (ChannelKind::WhatsApp, Unit::Elements | Unit::ElementsInAll) => 131_009,
        _ => 100,
    }
}

/// What a limit calls its field, with the places in lists left out.
fn pattern(field: &str) -> String {
    let parts = field.split('.').map(|part| part.split('[').next().unwrap_or_default());
    parts.collect::<Vec<&str>>().join(".")
}

/// A new comment: each may be answered privately once.
fn comment(harness: &Harness) -> String {
    let post = harness.sandbox.post(NewPost::default()).unwrap();
    let comment = SandboxContent::Comment {
        text: "How much?".to_owned(),
        media_id: Some(post),
        parent_id: None,
    };
    harness.sandbox.write("lucia", ACCOUNT, comment).unwrap().0
}

/// The hub's id of a new comment.
async fn known_comment(harness: &Harness) -> Value {
    let external_id = comment(harness);
    harness.projected().await;
    let found = harness.get("/api/v1/conversations?kind=comments&limit=200").await;
    for conversation in found.expect(200)["conversations"].as_array().unwrap() {
        let messages = harness.messages(conversation).await;
        if let Some(message) = messages.iter().find(|message| message["externalId"] == external_id) {
            return message["id"].clone();
        }
    }
    panic!("the comment {external_id} is in no conversation")
}

/// Sends it to Meta, past the hub's checks.
async fn directly(harness: &Harness, kind: ChannelKind, content: &Value) -> (u16, Value) {
    let content: Content = serde_json::from_value(content.clone()).unwrap();
    let (path, address, token) = match (kind, &content) {
        (_, Content::CommentReply(_)) => {
            let comment = comment(harness);
            let path = format!("{comment}/replies");
            (path, Address::Comment(comment), "META_IG_ACCESS_TOKEN")
        }
        (_, Content::PrivateReply(_)) => (
            format!("{ACCOUNT}/messages"),
            Address::CommentAuthor(comment(harness)),
            "META_IG_ACCESS_TOKEN",
        ),
        (ChannelKind::Instagram, _) => {
            let igsid = harness.sandbox.customer("lucia").unwrap().igsid.unwrap();
            (
                format!("{ACCOUNT}/messages"),
                Address::Igsid(igsid),
                "META_IG_ACCESS_TOKEN",
            )
        }
        (ChannelKind::WhatsApp | ChannelKind::Email, _) => (
            format!("{NUMBER}/messages"),
            Address::Phone("447700900101".to_owned()),
            "WHATSAPP_ACCESS_TOKEN",
        ),
    };
    let token = harness
        .sandbox
        .environment()
        .into_iter()
        .find(|(name, _)| name == token)
        .unwrap()
        .1;
    let request = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/v26.0/{path}", harness.sandbox.url());
    let request = request
        .post(url)
        .bearer_auth(token)
        .json(&body(&address, &content, None, "mark"));
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// A content that breaks a bound, and one that is just within it; answers with what Meta says of the former, where the bound is Meta's.
async fn holds(harness: &Harness, limit: &Limit, kind: &str, beyond: &Value, within: &Value) -> Option<String> {
    let (channel, to) = match limit.product {
        ChannelKind::WhatsApp => ("whatsapp", "+447700900101".to_owned()),
        ChannelKind::Instagram => ("instagram", harness.sandbox.customer("lucia").unwrap().igsid.unwrap()),
        // There is no Meta behind it, and nothing but its length; the checks themselves have a test.
        ChannelKind::Email => return None,
    };
    let what = format!(
        "{kind}: {} {:?} {}..{}",
        limit.field, limit.unit, limit.least, limit.most
    );
    let answers_comment = beyond["type"] == "comment_reply" || beyond["type"] == "private_reply";
    let order = if answers_comment {
        let mut answer = beyond.clone();
        answer["messageId"] = known_comment(harness).await;
        json!({ "content": answer })
    } else {
        json!({"channel": channel, "to": to, "content": beyond})
    };
    let refused = harness.post("/api/v1/messages/send", &order).await;
    let fields = refused.fields(422, "unsupported_content");
    let wanted = pattern(&format!("content.{}", limit.field));
    assert!(
        fields.iter().any(|field| pattern(field) == wanted),
        "{what}: {fields:?}"
    );
    let detail = refused.json()["errors"].to_string();
    assert!(
        detail.contains(&limit.most.to_string()),
        "{what}: the bound is not named: {detail}"
    );
    if !limit.source.contains(".md") {
        return None;
    }
    let (status, answer) = directly(harness, limit.product, beyond).await;
    if META_TAKES.contains(&(limit.product, kind, limit.field)) {
        let code = answer["error"]["code"].as_i64();
        assert!(status == 200 || code == Some(132_001), "{what}: {answer}");
        return None;
    }
    assert_eq!(
        (status, &answer["error"]["code"]),
        (400, &json!(code(limit))),
        "{what}: {answer}"
    );
    let said = answer["error"].to_string();
    let (status, answer) = directly(harness, limit.product, within).await;
    assert_eq!(status, 200, "{what} is within: {answer}");
    Some(said)
}

/// As Graph writes the name of a parameter.
fn shown(name: &str) -> String {
    let mut parts = name.split('.');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |name, part| format!("{name}['{part}']"))
}

#[tokio::test]
async fn what_breaks_a_bound_is_refused_before_the_queue_and_would_be_by_meta() {
    let mut setup = Setup::default();
    setup.sandbox.world.numbers[0].limits = NumberLimits::none();
    setup.sandbox.world.numbers[0].throughput = 0;
    setup.sandbox.world.instagram_accounts[0].limits = AccountLimits::none();
    on_both_with(setup, async |harness| {
        harness.foresee_refusals(&[100, 131_009, 132_001]);
        harness.sandbox.write("amara", NUMBER, text("hello")).unwrap();
        harness.sandbox.write("lucia", ACCOUNT, text("hello")).unwrap();
        harness.projected().await;
        let mut said_by_meta = Vec::new();
        for limit in LIMITS {
            for kind in limit.kinds {
                let beyond = samples::with(limit, kind, limit.most + 1).unwrap();
                let within = samples::with(limit, kind, limit.most).unwrap();
                let said = holds(harness, limit, kind, &beyond, &within).await;
                said_by_meta.extend(said);
            }
        }
        // The same row holds for what is another parameter at Meta.
        let is_title = |limit: &&Limit| limit.field == "buttons[].title" && limit.product == ChannelKind::WhatsApp;
        let limit = LIMITS.iter().find(is_title).unwrap();
        let link = |length: usize| samples::link_button(&"x".repeat(length), "https://example.org");
        said_by_meta.extend(holds(harness, limit, "buttons", &link(21), &link(20)).await);
        for bound in MESSAGE_LIMITS {
            let is_told = said_by_meta
                .iter()
                .any(|said| said.contains(bound.name) || said.contains(&shown(bound.name)));
            assert_ne!(
                is_told,
                UNREACHED.contains(&bound.name),
                "{}: the hub has no such bound",
                bound.name
            );
        }
        assert!(
            harness.accepted("amara").len() + harness.accepted("lucia").len() > 40,
            "what was within"
        );
        let waiting = harness.get("/admin/queue").await.expect(200);
        assert_eq!(waiting["waiting"].as_u64().unwrap_or_default(), 0, "{waiting}");
    })
    .await;
}
