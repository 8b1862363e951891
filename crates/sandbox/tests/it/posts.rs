//! What an Instagram account has posted, as a business reads it: pages, fields, insights, files, publishing.

use serde_json::{Value, json};
use tidings_sandbox::{Audio, NewPost, Options, PostChange, PostKind, Script, Token, TokenKind, World};

use super::harness::{ACCOUNT, Harness, code, start, stepped};

const FACEBOOK: &str = "EAAfacebookLoginToken";
const WITHOUT_INSIGHTS: &str = "IGAAwithoutInsights";

/// The usual world, with a token of Facebook Login and one that may not read insights.
fn options() -> Options {
    let mut world = World::default();
    let own = world.tokens[1].clone();
    world.tokens.push(Token {
        value: FACEBOOK.to_owned(),
        kind: TokenKind::SystemUser,
        scopes: vec!["instagram_basic".to_owned(), "instagram_manage_insights".to_owned()],
        ..own.clone()
    });
    world.tokens.push(Token {
        value: WITHOUT_INSIGHTS.to_owned(),
        scopes: vec!["instagram_business_basic".to_owned()],
        ..own
    });
    Options { world, ..stepped() }
}

/// Posts one of each age, the newest first; answers with their ids in the order of the listing.
fn posts(harness: &Harness, kinds: &[PostKind]) -> Vec<String> {
    let post = |(index, kind): (usize, &PostKind)| {
        let new = NewPost {
            kind: *kind,
            ago_ms: 1_000 * (index as u64 + 1),
            caption: Some(format!("No. {index}")),
            likes: 7,
            views: 100,
            audio: Some(Audio::Music),
            ..NewPost::default()
        };
        harness.sandbox.post(new).unwrap()
    };
    kinds.iter().enumerate().map(post).collect()
}

async fn get(harness: &Harness, path: &str) -> Value {
    let token = harness.variable("META_IG_ACCESS_TOKEN");
    let (status, answer) = harness.get(&format!("/v26.0/{path}"), &token).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

fn ids(page: &Value) -> Vec<String> {
    let items = page["data"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn pages_go_on_by_cursors_that_survive_deletions() {
    use PostKind::{Carousel, Image, Reel, Story, Video};
    let harness = start(options()).await;
    let posted = posts(&harness, &[Reel, Image, Reel, Story, Video, Carousel, Reel]);
    let listed: Vec<String> = [0, 1, 2, 4, 5, 6].map(|index: usize| posted[index].clone()).to_vec();

    let first = get(&harness, &format!("{ACCOUNT}/media?fields=id&limit=2")).await;
    assert_eq!(ids(&first), listed[..2]);
    assert!(first["paging"].get("previous").is_none());
    // The last one of the page is gone before the next is asked for.
    harness.sandbox.delete_post(&listed[1]).unwrap();
    let after = first["paging"]["cursors"]["after"].as_str().unwrap();
    let second = get(&harness, &format!("me/media?limit=2&after={after}")).await;
    assert_eq!(ids(&second), listed[2..4]);
    let next = second["paging"]["next"].as_str().unwrap();
    let path = next.split_once("/v26.0/").unwrap().1;
    assert!(
        next.starts_with(harness.sandbox.url()) && !next.contains("IGAA"),
        "{next}"
    );
    let last = get(&harness, path).await;
    assert_eq!(ids(&last), listed[4..]);
    assert!(last["paging"].get("next").is_none());
    let before = last["paging"]["cursors"]["before"].as_str().unwrap();
    let back = get(&harness, &format!("{ACCOUNT}/media?limit=2&before={before}")).await;
    assert_eq!(ids(&back), ids(&second));

    // By time: seconds since 1970, both ends included.
    let at = harness.sandbox.now() / 1000;
    let older = get(&harness, &format!("{ACCOUNT}/media?until={}", at - 3)).await;
    assert_eq!(ids(&older), listed[2..]);
    let newer = get(&harness, &format!("{ACCOUNT}/media?since={}", at - 3)).await;
    assert_eq!(ids(&newer), [listed[0].clone(), listed[2].clone()]);
    let stories = get(&harness, &format!("{ACCOUNT}/stories")).await;
    assert_eq!(ids(&stories), [posted[3].clone()]);

    let token = harness.variable("META_IG_ACCESS_TOKEN");
    for wrong in [
        "after=QVFI00",
        "after=other",
        "limit=0",
        "fields=id,nothing",
        "fields=id,{",
    ] {
        let answer = harness.get(&format!("/v26.0/{ACCOUNT}/media?{wrong}"), &token).await;
        assert!(matches!(code(&answer).1, 100 | 2500), "{wrong}: {answer:?}");
    }
}

#[tokio::test]
async fn hidden_posts_make_pages_short_and_empty() {
    let harness = start(options()).await;
    let posted = posts(&harness, &[PostKind::Reel; 4]);
    for id in &posted[..3] {
        let hide = PostChange {
            hidden: Some(true),
            ..PostChange::default()
        };
        harness.sandbox.change_post(id, hide).unwrap();
    }
    let page = get(&harness, &format!("{ACCOUNT}/media?limit=3")).await;
    assert_eq!(page["data"], json!([]));
    assert!(page["paging"]["next"].is_string());
}

#[tokio::test]
async fn fields_are_as_the_kind_of_login_has_them() {
    let harness = start(options()).await;
    let posted = posts(&harness, &[PostKind::Reel, PostKind::Carousel]);
    let fields = "caption,media_type,media_product_type,media_url,thumbnail_url,permalink,timestamp,like_count,\
                  comments_count,children{media_url},insights.metric(views)";
    let page = get(&harness, &format!("{ACCOUNT}/media?fields={fields}")).await;
    let (reel, carousel) = (&page["data"][0], &page["data"][1]);
    assert_eq!(reel["media_product_type"], "REELS");
    assert_eq!(reel["like_count"], 7);
    assert_eq!(reel["insights"]["data"][0]["values"][0]["value"], 100);
    assert!(reel["timestamp"].as_str().unwrap().ends_with("+0000"), "{reel}");
    assert_eq!(carousel["media_type"], "CAROUSEL_ALBUM");
    assert_eq!(carousel["children"]["data"].as_array().unwrap().len(), 3);
    assert!(carousel.get("thumbnail_url").is_none());
    assert_eq!(carousel["insights"]["data"], json!([]));

    let change = PostChange {
        caption: Some(String::new()),
        hide_likes: Some(true),
        flagged: Some(true),
        ..PostChange::default()
    };
    harness.sandbox.change_post(&posted[0], change).unwrap();
    let reel = get(&harness, &format!("{}?fields={fields}", posted[0])).await;
    for absent in ["caption", "like_count", "media_url"] {
        assert!(reel.get(absent).is_none(), "{absent} in {reel}");
    }

    // What only Facebook Login has fails the whole page elsewhere (instagram.md 5.1).
    let path = format!("/v26.0/{ACCOUNT}/media?fields=media_audio_type,view_count");
    let token = harness.variable("META_IG_ACCESS_TOKEN");
    assert_eq!(code(&harness.get(&path, &token).await).1, 100);
    let (status, page) = harness.get(&path, FACEBOOK).await;
    assert_eq!(status, 200, "{page}");
    assert_eq!(page["data"][0]["media_audio_type"], "MUSIC");
    assert_eq!(page["data"][0]["view_count"], 100);
}

#[tokio::test]
async fn insights_need_a_permission_and_are_read_all_or_none() {
    let harness = start(options()).await;
    let posted = posts(&harness, &[PostKind::Reel, PostKind::Carousel]);
    let insights = format!("{}/insights?metric=views,reach", posted[0]);
    let read = get(&harness, &insights).await;
    assert_eq!(read["data"][1]["name"], "reach");
    let expanded = format!("/v26.0/{ACCOUNT}/media?fields=insights.metric(views)");
    for path in [format!("/v26.0/{insights}"), expanded.clone()] {
        assert_eq!(code(&harness.get(&path, WITHOUT_INSIGHTS).await).1, 10, "{path}");
    }
    let token = harness.variable("META_IG_ACCESS_TOKEN");
    let gone = format!("/v26.0/{}/insights?metric=views,plays", posted[0]);
    assert_eq!(code(&harness.get(&gone, &token).await).1, 100);
    let change = PostChange {
        without_insights: Some(true),
        ..PostChange::default()
    };
    harness.sandbox.change_post(&posted[1], change).unwrap();
    assert_eq!(code(&harness.get(&expanded, &token).await).1, 100);
}

#[tokio::test]
async fn files_are_real_and_their_addresses_end() {
    let harness = start(options()).await;
    let posted = posts(&harness, &[PostKind::Reel]);
    let reel = get(&harness, &format!("{}?fields=media_url,thumbnail_url", posted[0])).await;
    let film = reel["media_url"].as_str().unwrap();
    let fetch = async |url: &str| {
        let answer = harness.http.get(url).send().await.unwrap();
        let kind = answer
            .headers()
            .get("content-type")
            .map(|kind| kind.to_str().unwrap().to_owned());
        (
            answer.status().as_u16(),
            kind.unwrap_or_default(),
            answer.bytes().await.unwrap(),
        )
    };
    let (status, kind, bytes) = fetch(film).await;
    assert_eq!((status, kind.as_str()), (200, "video/mp4"));
    assert_eq!(&bytes[4..8], b"ftyp");
    let (status, kind, bytes) = fetch(reel["thumbnail_url"].as_str().unwrap()).await;
    assert_eq!((status, kind.as_str()), (200, "image/png"));
    assert!(bytes.starts_with(b"\x89PNG"));
    assert_eq!(fetch(&film.replace("oe=", "oe=7")).await.0, 403);
    harness.advance(48 * 3_600_000).await;
    let (status, _, text) = fetch(film).await;
    assert_eq!((status, &text[..]), (403, &b"URL signature expired"[..]));
}

#[tokio::test]
async fn a_reel_is_published_and_deleted() {
    let harness = start(options()).await;
    let token = harness.variable("META_IG_ACCESS_TOKEN");
    let post = async |path: &str, body: Value| harness.post(&format!("/v26.0/{path}"), &token, &body).await;
    let new = json!({"media_type": "REELS", "video_url": "https://films.example/a.mp4", "caption": "New", "audio_name": "Ours"});
    let (status, container) = post(&format!("{ACCOUNT}/media"), new).await;
    assert_eq!(status, 200, "{container}");
    let id = container["id"].as_str().unwrap();
    let publish = || post("me/media_publish", json!({"creation_id": id}));
    assert_eq!(code(&publish().await), (400, 9007, Some(2_207_027)));
    harness.advance(3_000).await;
    assert_eq!(
        get(&harness, &format!("{id}?fields=status_code")).await["status_code"],
        "FINISHED"
    );
    let (status, published) = publish().await;
    assert_eq!(status, 200, "{published}");
    assert_eq!(code(&publish().await), (400, 24, Some(2_207_008)));
    assert_eq!(
        ids(&get(&harness, &format!("{ACCOUNT}/media")).await),
        [published["id"].as_str().unwrap()]
    );
    let quota = get(&harness, &format!("{ACCOUNT}/content_publishing_limit")).await;
    assert_eq!(quota["data"][0]["quota_usage"], 1);

    for (wrong, refusal) in [
        (json!({"media_type": "REELS"}), 100),
        (json!({"media_type": "REELS", "video_url": "file:///a"}), 9004),
        (
            json!({"media_type": "REELS", "video_url": "https://a", "caption": "x".repeat(2_201)}),
            36_004,
        ),
    ] {
        assert_eq!(code(&post(&format!("{ACCOUNT}/media"), wrong).await).1, refusal);
    }
    let path = format!("{}/v26.0/{}", harness.sandbox.url(), published["id"].as_str().unwrap());
    let delete = async || harness.call(harness.http.delete(&path), &token).await;
    assert_eq!(delete().await, (200, json!({"success": true})));
    assert_eq!(code(&delete().await), (400, 100, Some(33)));
}

#[tokio::test]
async fn posts_are_made_by_script_and_by_the_control_api() {
    let harness = start(options()).await;
    let script = "posts:\n  - {kind: image, agoMs: 5000}\n  - {caption: later, atMs: 1000, likes: 3}\n";
    harness.sandbox.play(&Script::parse(script).unwrap()).unwrap();
    let listed = async || ids(&get(&harness, &format!("{ACCOUNT}/media")).await).len();
    assert_eq!(listed().await, 1);
    harness.advance(1_000).await;
    assert_eq!(listed().await, 2);

    let path = format!("/sandbox/instagram-accounts/{ACCOUNT}/posts");
    let (status, made) = harness
        .post(&path, "", &json!({"kind": "carousel", "children": 2}))
        .await;
    assert_eq!(status, 201, "{made}");
    let id = made["id"].as_str().unwrap();
    assert_eq!(harness.post(&path, "", &json!({"id": id})).await.0, 409);
    assert_eq!(
        harness
            .post(&path, "", &json!({"kind": "carousel", "children": 1}))
            .await
            .0,
        422
    );
    let url = format!("{}/sandbox/posts/{id}", harness.sandbox.url());
    let (status, changed) = harness
        .call(harness.http.patch(&url).json(&json!({"likes": 9})), "")
        .await;
    assert_eq!((status, &changed["likes"]), (200, &json!(9)));
    let (_, shown) = harness.get(&path, "").await;
    assert_eq!(shown["posts"].as_array().unwrap().len(), 3);
    assert_eq!(harness.call(harness.http.delete(&url), "").await.0, 200);
    assert_eq!(harness.call(harness.http.delete(&url), "").await.0, 404);
}
