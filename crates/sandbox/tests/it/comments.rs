//! Comments, and the private replies to them.

use serde_json::{Value, json};
use tidings_sandbox::{Content, LedgerKind, NewPost, PostChange, PostKind, Script};

use super::harness::{ACCOUNT, Harness, START, code, start, stepped};

const DAY: u64 = 86_400_000;

fn comment(harness: &Harness, text: &str) -> String {
    let comment = Content::Comment {
        text: text.to_owned(),
        media_id: None,
        parent_id: None,
    };
    harness.sandbox.write("lucia", ACCOUNT, comment).unwrap().0
}

async fn reply(harness: &Harness, comment: &str) -> (u16, Value) {
    harness
        .instagram(json!({"recipient": {"comment_id": comment}, "message": {"text": "Here you are"}}))
        .await
}

#[tokio::test]
async fn a_comment_is_told_and_answered_in_private_once() {
    let harness = start(stepped()).await;
    let igsid = harness.igsid("lucia").await;
    let id = comment(&harness, "Link please");
    harness.advance(0).await;
    let entry = harness.receiver.bodies()[0]["entry"][0].clone();
    assert_eq!((&entry["id"], &entry["time"]), (&json!(ACCOUNT), &json!(START / 1000)));
    let change = &entry["changes"][0];
    assert_eq!(change["field"], "comments");
    assert_eq!(
        (&change["value"]["id"], &change["value"]["text"]),
        (&json!(id), &json!("Link please"))
    );
    assert_eq!(change["value"]["from"]["id"], igsid);
    assert!(change["value"]["media"]["id"].is_string() && change["value"].get("parent_id").is_none());

    let (status, answer) = reply(&harness, &id).await;
    assert_eq!((status, &answer["recipient_id"]), (200, &json!(igsid)));
    assert_eq!(code(&reply(&harness, &id).await), (400, 100, Some(2_534_025)));
    assert_eq!(code(&reply(&harness, "1").await), (400, 100, Some(2_534_025)));
    harness.advance(10_000).await;
    assert!(
        harness
            .receiver
            .messaging()
            .iter()
            .any(|event| event["message"]["mid"] == answer["message_id"])
    );
    // Only what the person writes opens the window.
    let free = json!({"recipient": {"id": igsid}, "message": {"text": "And more"}});
    assert_eq!(code(&harness.instagram(free).await), (400, 10, Some(2_534_022)));
}

#[tokio::test]
async fn a_private_reply_has_seven_days_and_an_hourly_limit() {
    let mut options = stepped();
    options.world.instagram_accounts[0].limits.private_replies_per_hour = 2;
    let harness = start(options).await;
    let late = comment(&harness, "early");
    harness.advance(7 * DAY).await;
    assert_eq!(code(&reply(&harness, &late).await), (400, 10, Some(2_534_022)));
    let comments: Vec<String> = (0..3).map(|number| comment(&harness, &number.to_string())).collect();
    assert_eq!(reply(&harness, &comments[0]).await.0, 200);
    assert_eq!(reply(&harness, &comments[1]).await.0, 200);
    assert_eq!(code(&reply(&harness, &comments[2]).await), (400, 613, Some(2_534_040)));
    harness.advance(3_600_000).await;
    assert_eq!(reply(&harness, &comments[2]).await.0, 200);
}

fn new_post(harness: &Harness, kind: PostKind, live: bool) -> String {
    let new = NewPost {
        kind,
        live,
        ..NewPost::default()
    };
    harness.sandbox.post(new).unwrap()
}

fn write(harness: &Harness, text: &str, media_id: Option<&str>, parent_id: Option<&str>) -> String {
    let comment = Content::Comment {
        text: text.to_owned(),
        media_id: media_id.map(str::to_owned),
        parent_id: parent_id.map(str::to_owned),
    };
    harness.sandbox.write("lucia", ACCOUNT, comment).unwrap().0
}

async fn graph(harness: &Harness, method: reqwest::Method, path: &str) -> (u16, Value) {
    let token = harness.variable("META_IG_ACCESS_TOKEN");
    let url = format!("{}/v26.0/{path}", harness.sandbox.url());
    harness.call(harness.http.request(method, url), &token).await
}

async fn get(harness: &Harness, path: &str) -> Value {
    let (status, answer) = graph(harness, reqwest::Method::GET, path).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

async fn post(harness: &Harness, path: &str) -> (u16, Value) {
    graph(harness, reqwest::Method::POST, path).await
}

fn told(harness: &Harness, field: &str) -> Vec<Value> {
    let bodies = harness.receiver.bodies();
    let entries = bodies.iter().flat_map(|body| body["entry"].as_array().unwrap().clone());
    let changes = entries.flat_map(|entry| entry["changes"].as_array().cloned().unwrap_or_default());
    changes
        .filter(|change| change["field"] == field)
        .map(|change| change["value"].clone())
        .collect()
}

#[tokio::test]
async fn comments_are_read_answered_hidden_and_deleted() {
    let harness = start(stepped()).await;
    let media = new_post(&harness, PostKind::Image, false);
    let first = write(&harness, "Is it waterproof?", Some(&media), None);
    let second = write(&harness, "And in red?", Some(&media), None);
    let (status, answer) = post(&harness, &format!("{first}/replies?message=It+is")).await;
    assert_eq!(status, 200, "{answer}");
    let own = answer["id"].as_str().unwrap().to_owned();
    // An answer to an answer is put under the first comment, whoever makes it.
    let third = write(&harness, "Great", None, Some(&own));
    harness.advance(0).await;
    let comments = told(&harness, "comments");
    assert_eq!(comments.len(), 4, "{comments:#?}");
    assert_eq!(comments[2]["from"]["id"], ACCOUNT, "one's own is told, too");
    assert_eq!(
        (&comments[2]["parent_id"], &comments[3]["parent_id"]),
        (&json!(first), &json!(first))
    );
    assert_eq!(comments[0]["media"]["media_product_type"], "FEED");

    let listed = get(
        &harness,
        &format!("{media}/comments?fields=id,text,username,hidden,replies{{id,from}}"),
    )
    .await;
    let shown: Vec<&Value> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|comment| &comment["id"])
        .collect();
    assert_eq!(
        shown,
        [&json!(second), &json!(first)],
        "the newest first, and answers below"
    );
    let replies = listed["data"][1]["replies"]["data"].as_array().unwrap();
    assert_eq!((&replies[0]["id"], &replies[1]["id"]), (&json!(own), &json!(third)));
    assert_eq!(replies[0]["from"]["id"], ACCOUNT);
    assert_eq!(
        get(&harness, &format!("{first}/replies?limit=1")).await["data"][0]["id"],
        json!(own)
    );
    let next = get(&harness, &format!("{first}/replies?limit=1")).await["paging"]["next"].clone();
    let next = next.as_str().unwrap().split_once("/v26.0/").unwrap().1.to_owned();
    assert_eq!(get(&harness, &next).await["data"][0]["id"], json!(third));
    assert_eq!(
        get(&harness, &format!("{media}?fields=comments_count")).await["comments_count"],
        4
    );
    let node = get(
        &harness,
        &format!("{first}?fields=id,text,timestamp,username,parent_id,media"),
    )
    .await;
    assert_eq!(
        (&node["text"], &node["media"]["id"]),
        (&json!("Is it waterproof?"), &json!(media))
    );

    assert_eq!(
        post(&harness, &format!("{first}?hide=true")).await.1,
        json!({"success": true})
    );
    assert_eq!(get(&harness, &format!("{first}?fields=hidden")).await["hidden"], true);
    let refused = post(&harness, &format!("{first}/replies?message=Hello")).await;
    assert_eq!(code(&refused), (400, 100, None), "a hidden one has no answers");
    assert_eq!(
        post(&harness, &format!("{own}?hide=true")).await.1,
        json!({"success": true})
    );
    assert_eq!(
        get(&harness, &format!("{own}?fields=hidden")).await["hidden"],
        false,
        "one's own stay visible"
    );
    assert_eq!(
        post(&harness, &format!("{first}?hide=false")).await.1,
        json!({"success": true})
    );

    let deleted = graph(&harness, reqwest::Method::DELETE, &first).await;
    assert_eq!(deleted.1, json!({"success": true}));
    let gone = graph(&harness, reqwest::Method::DELETE, &first).await;
    assert_eq!(code(&gone), (400, 100, Some(33)));
    assert_eq!(
        code(&post(&harness, &format!("{own}?hide=true")).await),
        (400, 100, Some(33)),
        "its answers go with it"
    );
    assert_eq!(
        get(&harness, &format!("{media}/comments")).await["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let kinds: Vec<Value> = harness
        .entries(LedgerKind::Accepted)
        .iter()
        .map(|entry| entry.detail["kind"].clone())
        .collect();
    assert_eq!(
        kinds,
        [
            "comment",
            "comment_hidden",
            "comment_hidden",
            "comment_shown",
            "comment_deleted"
        ]
    );
}

#[tokio::test]
async fn what_a_comment_may_not_say_is_refused() {
    let harness = start(stepped()).await;
    let media = new_post(&harness, PostKind::Reel, false);
    for text in [
        "%23a %23b %23c %23d %23e",
        "https://a.example https://b.example",
        "LOUD",
        "",
    ] {
        let path = format!("{media}/comments?message={}", text.replace(' ', "+"));
        assert_eq!(code(&post(&harness, &path).await), (400, 100, None), "{text}");
    }
    let fits = format!("{media}/comments?message=%23a+%23b+%23c+%23d+https://a.example+OK?");
    assert_eq!(post(&harness, &fits).await.0, 200);
    assert_eq!(post(&harness, &format!("{media}?comment_enabled=false")).await.0, 200);
    assert_eq!(code(&post(&harness, &fits).await), (400, 100, None));
    assert_eq!(
        get(&harness, &format!("{media}?fields=is_comment_enabled")).await["is_comment_enabled"],
        false
    );
    let refused = harness.sandbox.write(
        "lucia",
        ACCOUNT,
        Content::Comment {
            text: "Hello".to_owned(),
            media_id: Some(media.clone()),
            parent_id: None,
        },
    );
    assert!(refused.is_err(), "nor can customers");
    assert_eq!(
        code(&post(&harness, "17000/replies?message=a").await),
        (400, 100, Some(33))
    );
    assert_eq!(
        code(&post(&harness, &format!("{media}?hide=true")).await),
        (400, 100, Some(33))
    );
}

#[tokio::test]
async fn a_broadcast_is_told_by_its_own_field_and_answered_while_it_lasts() {
    let harness = start(stepped()).await;
    let media = new_post(&harness, PostKind::Video, true);
    let one = write(&harness, "How much?", Some(&media), None);
    let two = write(&harness, "And in red?", Some(&media), None);
    harness.advance(0).await;
    assert_eq!(told(&harness, "live_comments").len(), 2);
    assert!(told(&harness, "comments").is_empty());
    assert_eq!(
        code(&post(&harness, &format!("{one}/replies?message=29")).await),
        (400, 100, None)
    );
    assert_eq!(
        get(&harness, &format!("{media}/comments")).await["data"],
        json!([]),
        "they cannot be read"
    );
    assert!(
        get(&harness, &format!("{ACCOUNT}/media")).await["data"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    assert_eq!(reply(&harness, &one).await.0, 200);
    let over = PostChange {
        live: Some(false),
        ..PostChange::default()
    };
    harness.sandbox.change_post(&media, over).unwrap();
    assert_eq!(code(&reply(&harness, &two).await), (400, 10, Some(2_534_022)));
}

#[tokio::test]
async fn mentions_are_told_by_ids_read_and_answered() {
    let harness = start(stepped()).await;
    let mention = Content::Mention {
        text: "@sandbox.records nice".to_owned(),
        media_id: None,
    };
    let comment = harness.sandbox.write("lucia", ACCOUNT, mention).unwrap().0;
    let caption = Content::CaptionMention {
        text: "From @sandbox.records".to_owned(),
    };
    let media = harness.sandbox.write("lucia", ACCOUNT, caption).unwrap().0;
    harness.advance(0).await;
    let mentions = told(&harness, "mentions");
    assert_eq!(mentions[0]["comment_id"], json!(comment));
    assert!(mentions[0].get("text").is_none());
    assert_eq!(mentions[1], json!({"media_id": media}));
    let path = format!("{ACCOUNT}?fields=mentioned_comment.comment_id({comment}){{id,text,username,media}}");
    let read = get(&harness, &path).await;
    assert_eq!(read["mentioned_comment"]["text"], "@sandbox.records nice");
    assert_eq!(read["mentioned_comment"]["media"]["id"], mentions[0]["media_id"]);
    let path = format!("me?fields=mentioned_media.media_id({media}){{caption,media_type,username}}");
    assert_eq!(
        get(&harness, &path).await["mentioned_media"]["caption"],
        "From @sandbox.records"
    );
    let post_id = mentions[0]["media_id"].as_str().unwrap();
    let answered = post(
        &harness,
        &format!("{ACCOUNT}/mentions?media_id={post_id}&comment_id={comment}&message=Thanks"),
    )
    .await;
    assert_eq!(answered.0, 200, "{}", answered.1);
    let answered = post(&harness, &format!("{ACCOUNT}/mentions?media_id={media}&message=Thanks")).await;
    assert!(answered.1["id"].is_string());
    for path in [
        format!("{ACCOUNT}/mentions?media_id=1&message=a"),
        format!("{comment}?hide=true"),
        format!("{comment}/replies?message=a"),
    ] {
        assert_eq!(code(&post(&harness, &path).await), (400, 100, Some(33)), "{path}");
    }
    let unknown = graph(
        &harness,
        reqwest::Method::GET,
        &format!("{ACCOUNT}?fields=mentioned_comment.comment_id(1){{id}}"),
    )
    .await;
    assert_eq!(code(&unknown), (400, 100, Some(33)));
    harness.advance(10_000).await;
    assert!(
        told(&harness, "comments").is_empty(),
        "what is said under posts of others is not told"
    );
    assert_eq!(code(&reply(&harness, &comment).await), (400, 100, Some(2_534_025)));
}

#[tokio::test]
async fn comments_come_from_scripts_and_can_be_deleted_by_their_author() {
    let harness = start(stepped()).await;
    let id = comment(&harness, "There was no post before");
    let listed = get(&harness, &format!("{ACCOUNT}/media?fields=id,comments_count")).await;
    let media = listed["data"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(listed["data"][0]["comments_count"], 1);
    let shared = json!({"recipient": {"comment_id": id}, "message": {"attachment": {"type": "MEDIA_SHARE", "payload": {"id": media}}}});
    assert_eq!(
        harness.instagram(shared).await.0,
        200,
        "a post of the account's can be shared, whichever it is"
    );
    let deletes = Content::DeleteComment { comment_id: id.clone() };
    harness.sandbox.write("lucia", ACCOUNT, deletes.clone()).unwrap();
    assert!(harness.sandbox.write("lucia", ACCOUNT, deletes).is_err());
    assert_eq!(
        code(&post(&harness, &format!("{id}?hide=true")).await),
        (400, 100, Some(33))
    );
    let script = "lines:\n  - {atMs: 500, from: lucia, do: {type: comment, text: From a script}}\n";
    harness.sandbox.play(&Script::parse(script).unwrap()).unwrap();
    harness.advance(1_000).await;
    let (_, shown) = harness.get(&format!("/sandbox/posts/{media}/comments"), "").await;
    assert_eq!(shown["comments"][0]["text"], "From a script");
    assert_eq!(harness.get("/sandbox/posts/1/comments", "").await.0, 404);
}
