//! Posts as a business reads them: the listing with its cursors, one post, a carousel's parts, insights, stories, deletion; and the host of
//! the files (instagram.md 5, graph-api.md 5).
//!
//! Both hosts of Meta are answered here; which fields there are depends on the token, since each kind of token belongs to one host
//! (instagram.md 5.1).

use std::fmt::Write;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::error::GraphError;
use super::fields::{self, Field};
use super::params::{Params, percent_encode};
use super::tokens::Caller;
use crate::Core;
use crate::posts::{Audio, Post, PostKind, STORY_MILLIS, picture};
use crate::samples::film;
use crate::state::State;
use crate::world::TokenKind;

/// As the listing of instagram.md 5.1 asks for.
const LIMIT: usize = 25;
/// No page is longer, whatever is asked for.
const LIMIT_MAX: usize = 100;
const KIND: &str = "IGMedia";

/// Metrics that a reel has (instagram.md 5.4); `plays` and its like are gone and fail the call, as any unknown one does.
const METRICS: &[&str] = &[
    "views",
    "reach",
    "likes",
    "comments",
    "shares",
    "saved",
    "total_interactions",
    "reposts",
    "reels_skip_rate",
    "crossposted_views",
    "ig_reels_avg_watch_time",
    "ig_reels_video_view_total_time",
];
/// Those that only Facebook Login has.
const METRICS_OF_FACEBOOK: &[&str] = &["facebook_views", "total_likes", "total_comments", "total_views"];

pub(super) const BASIC: &[&str] = &["instagram_business_basic", "instagram_basic"];
const INSIGHTS: &[&str] = &["instagram_business_manage_insights", "instagram_manage_insights"];
pub(super) const PUBLISH: &[&str] = &["instagram_business_content_publish", "instagram_content_publish"];

/// Refuses a token without any of these permissions: 10 (instagram.md 7).
pub(super) fn permit(caller: &Caller, scopes: &[&str]) -> Result<(), GraphError> {
    match caller {
        Caller::Holder(token) if token.scopes.iter().any(|scope| scopes.contains(&scope.as_str())) => Ok(()),
        _ => Err(GraphError::new(
            403,
            10,
            "(#10) Application does not have permission for this action",
        )),
    }
}

fn is_of_facebook(caller: &Caller) -> bool {
    matches!(caller, Caller::Holder(token) if token.kind != TokenKind::InstagramUser)
}

/// `GET /{ig-id}/media`: the newest first, by cursor, and by time.
pub(super) fn list(
    core: &Core,
    state: &State,
    account: &str,
    caller: &Caller,
    params: &Params,
    version: &str,
) -> Result<Value, GraphError> {
    caller.may_use(account)?;
    permit(caller, BASIC)?;
    let asked = asked(params)?;
    let limit = number(params, "limit")?.unwrap_or(LIMIT as i64);
    if limit < 1 {
        return Err(GraphError::parameter("Param limit must be a positive number"));
    }
    let limit = (limit as usize).min(LIMIT_MAX);
    let (since, until) = (number(params, "since")?, number(params, "until")?);
    let listed: Vec<&Post> = state
        .posts
        .of(account)
        .iter()
        .filter(|post| post.kind != PostKind::Story && !post.is_broadcast)
        .filter(|post| since.is_none_or(|since| post.at.div_euclid(1000) >= since))
        .filter(|post| until.is_none_or(|until| post.at.div_euclid(1000) <= until))
        .collect();
    let cursor = |name| params.text(name).map(|text| read_cursor(account, text)).transpose();
    let (after, before) = (cursor("after")?, cursor("before")?);
    let start = after.map_or(0, |place| listed.partition_point(|post| post.place() >= place));
    let (start, end) = match before {
        Some(place) => {
            let end = listed.partition_point(|post| post.place() > place);
            (start.max(end.saturating_sub(limit)), end)
        }
        None => (start, (start + limit).min(listed.len())),
    };
    let page = listed.get(start..end).unwrap_or_default();
    let data: Result<Vec<Value>, GraphError> = page
        .iter()
        .filter(|post| !post.hidden)
        .map(|post| shown(core, state, post, caller, &asked))
        .collect();
    let mut answer = json!({ "data": data? });
    if let (Some(first), Some(last)) = (page.first(), page.last()) {
        let (before, after) = (write_cursor(account, first), write_cursor(account, last));
        answer["paging"]["cursors"] = json!({"before": before, "after": after});
        let link = |name: &str, cursor: &str| {
            let mut link = format!("{}/{version}/{account}/media?{name}={cursor}&limit={limit}", core.url);
            // A token that came as a parameter stands here too (graph-api.md 5).
            for name in ["fields", "since", "until", "access_token"] {
                if let Some(value) = params.get(name) {
                    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    // Writing to a String cannot fail.
                    let _ = write!(link, "&{name}={}", percent_encode(&value));
                }
            }
            link
        };
        if end < listed.len() {
            answer["paging"]["next"] = json!(link("after", &after));
        }
        if start > 0 {
            answer["paging"]["previous"] = json!(link("before", &before));
        }
    }
    Ok(answer)
}

/// `GET /{ig-id}/stories`: those of the last day.
pub(super) fn stories(
    core: &Core,
    state: &State,
    account: &str,
    caller: &Caller,
    params: &Params,
) -> Result<Value, GraphError> {
    caller.may_use(account)?;
    permit(caller, BASIC)?;
    let asked = asked(params)?;
    let now = core.clock.now();
    let posts = state.posts.of(account).iter();
    let stories = posts.filter(|post| post.kind == PostKind::Story && now - post.at < STORY_MILLIS);
    let data: Result<Vec<Value>, GraphError> = stories.map(|post| shown(core, state, post, caller, &asked)).collect();
    Ok(json!({ "data": data? }))
}

/// `GET /{media-id}`, of a post or of a carousel's part; `None` where there is none.
pub(super) fn look_up(
    core: &Core,
    state: &State,
    id: &str,
    caller: &Caller,
    params: &Params,
) -> Option<Result<Value, GraphError>> {
    let post = state.posts.get(id)?;
    Some(may_read(post, id, caller).and_then(|()| {
        let asked = asked(params)?;
        if id == post.id {
            shown(core, state, post, caller, &asked)
        } else {
            child(core, post, id, &asked)
        }
    }))
}

/// `GET /{media-id}/children` and `/insights`; `None` where there is no such post.
pub(super) fn edge(
    core: &Core,
    state: &State,
    id: &str,
    edge: &str,
    caller: &Caller,
    params: &Params,
) -> Option<Result<Value, GraphError>> {
    let post = state.posts.get(id)?;
    if let Err(error) = may_read(post, id, caller) {
        return Some(Err(error));
    }
    match edge {
        "children" => Some(asked(params).and_then(|asked| children(core, post, &asked))),
        "insights" => Some(
            params
                .list("metric")
                .filter(|metrics| !metrics.is_empty())
                .ok_or_else(|| GraphError::parameter("The parameter metric is required."))
                .and_then(|metrics| insights(post, id, caller, &metrics.join(","))),
        ),
        _ => None,
    }
}

/// `DELETE /{media-id}` (instagram.md 5.5); `None` where there is no such post.
pub(super) fn delete(state: &mut State, id: &str, caller: &Caller) -> Option<Result<Value, GraphError>> {
    let post = state.posts.get(id).filter(|post| post.id == id)?;
    if let Err(error) = caller.may_use(&post.account).and_then(|()| permit(caller, PUBLISH)) {
        return Some(Err(error));
    }
    state.posts.remove(id);
    Some(Ok(json!({"success": true})))
}

/// What another account has posted is not there.
fn may_read(post: &Post, id: &str, caller: &Caller) -> Result<(), GraphError> {
    caller
        .may_use(&post.account)
        .map_err(|_| GraphError::no_object("GET", id))?;
    permit(caller, BASIC)
}

fn asked(params: &Params) -> Result<Vec<Field>, GraphError> {
    match params.get("fields") {
        None => Ok(vec![Field {
            name: "id".to_owned(),
            ..Field::default()
        }]),
        Some(Value::String(text)) => fields::parse(text),
        Some(_) => Err(GraphError::parameter("Param fields must be a list of names")),
    }
}

fn number(params: &Params, name: &str) -> Result<Option<i64>, GraphError> {
    let Some(value) = params.get(name) else {
        return Ok(None);
    };
    let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
    number
        .map(Some)
        .ok_or_else(|| GraphError::parameter(format!("Param {name} must be an integer")))
}

fn shown(core: &Core, state: &State, post: &Post, caller: &Caller, asked: &[Field]) -> Result<Value, GraphError> {
    let mut object = own_fields(core, state, post, is_of_facebook(caller));
    let mut plain = Vec::new();
    for field in asked {
        match field.name.as_str() {
            "children" if post.kind == PostKind::Carousel => {
                let below = field.fields.clone().unwrap_or_default();
                object.insert("children".to_owned(), children(core, post, &below)?);
            }
            "children" => {
                object.insert("children".to_owned(), Value::Null);
            }
            "insights" => {
                let metrics = field
                    .modifier("metric")
                    .ok_or_else(|| GraphError::parameter("The parameter metric is required"))?;
                object.insert("insights".to_owned(), insights(post, &post.id, caller, metrics)?);
            }
            _ => {}
        }
        plain.push(field.clone());
    }
    fields::select(&object, &plain, KIND).map(Value::Object)
}

/// Every field of instagram.md 5.1; those without a value are left out later.
fn own_fields(core: &Core, state: &State, post: &Post, is_of_facebook: bool) -> Map<String, Value> {
    let (media_type, product) = match post.kind {
        PostKind::Image => ("IMAGE", "FEED"),
        PostKind::Video => ("VIDEO", "FEED"),
        PostKind::Reel => ("VIDEO", "REELS"),
        PostKind::Carousel => ("CAROUSEL_ALBUM", "FEED"),
        PostKind::Story => ("IMAGE", "STORY"),
    };
    let way = if post.kind == PostKind::Reel { "reel" } else { "p" };
    let file = link(core, &post.id, if post.is_film() { "mp4" } else { "png" });
    let username = state.account(&post.account).map(|account| account.username.as_str());
    let is_reel = post.kind == PostKind::Reel;
    let fields = json!({
        "id": post.id,
        "media_type": media_type,
        "media_product_type": product,
        "media_url": (!post.flagged).then_some(file),
        "thumbnail_url": post.is_film().then(|| link(core, &post.id, "png")),
        "permalink": format!("https://www.instagram.com/{way}/{}/", post.shortcode),
        "shortcode": post.shortcode,
        "caption": (!post.caption.is_empty()).then_some(&post.caption),
        "timestamp": iso(post.at),
        "username": username,
        "owner": {"id": post.account},
        "like_count": (!post.hide_likes).then_some(post.likes),
        "comments_count": post.comments + state.comments.under(&post.id).count() as u64,
        "is_comment_enabled": !post.comments_off,
        "is_shared_to_feed": is_reel.then_some(true),
        "alt_text": Value::Null,
        "is_ai_generated": false,
    });
    let Value::Object(mut fields) = fields else {
        return Map::new();
    };
    if is_of_facebook {
        let audio = post.audio.map(|audio| match audio {
            Audio::Music => "MUSIC",
            Audio::OriginalSound => "ORIGINAL_SOUND",
        });
        let more = json!({
            "media_audio_type": audio, "view_count": is_reel.then_some(post.views), "reposts_count": 0, "saved_count": 0,
            "shares_count": 0, "total_like_count": post.likes, "total_comments_count": post.comments,
            "total_views_count": is_reel.then_some(post.views),
        });
        if let Value::Object(more) = more {
            fields.extend(more);
        }
    }
    fields
}

fn children(core: &Core, post: &Post, asked: &[Field]) -> Result<Value, GraphError> {
    let data: Result<Vec<Value>, GraphError> = post.children.iter().map(|id| child(core, post, id, asked)).collect();
    Ok(json!({ "data": data? }))
}

/// A part of a carousel has few fields, and neither counts nor insights (instagram.md 5.1, 5.4).
fn child(core: &Core, post: &Post, id: &str, asked: &[Field]) -> Result<Value, GraphError> {
    let fields = json!({
        "id": id, "media_type": "IMAGE", "media_url": link(core, id, "png"), "thumbnail_url": Value::Null,
        "permalink": format!("https://www.instagram.com/p/{}/", post.shortcode), "shortcode": post.shortcode,
        "timestamp": iso(post.at), "username": Value::Null, "owner": {"id": post.account}, "alt_text": Value::Null,
    });
    let Value::Object(fields) = fields else {
        return Ok(Value::Null);
    };
    fields::select(&fields, asked, KIND).map(Value::Object)
}

/// instagram.md 5.4: any metric that is not there fails the call, and what has no data is left out.
fn insights(post: &Post, id: &str, caller: &Caller, metrics: &str) -> Result<Value, GraphError> {
    permit(caller, INSIGHTS)?;
    if id != post.id {
        return Err(GraphError::parameter(
            "Insights are not there for media within an album",
        ));
    }
    if post.without_insights {
        return Err(GraphError::parameter("The insights of this media cannot be read"));
    }
    let of_facebook = is_of_facebook(caller);
    let mut data = Vec::new();
    for metric in metrics.split(',').map(str::trim).filter(|metric| !metric.is_empty()) {
        let is_known = METRICS.contains(&metric) || (of_facebook && METRICS_OF_FACEBOOK.contains(&metric));
        if !is_known {
            let known = METRICS.join(", ");
            return Err(GraphError::parameter(format!(
                "metric[0] must be one of the following values: {known}"
            )));
        }
        let value = match metric {
            "views" | "total_views" => post.views,
            "reach" => post.views * 4 / 5,
            "likes" | "total_likes" => post.likes,
            "comments" | "total_comments" => post.comments,
            "total_interactions" => post.likes + post.comments,
            _ => 0,
        };
        // Missing data is an empty list, not 0 (instagram.md 5.4).
        if matches!(post.kind, PostKind::Reel | PostKind::Video) && value > 0 {
            data.push(json!({
                "name": metric, "period": "lifetime", "values": [{"value": value}], "title": metric,
                "description": format!("{metric} of this media"), "id": format!("{id}/insights/{metric}/lifetime"),
            }));
        }
    }
    Ok(json!({ "data": data }))
}

/// graph-api.md 5.
pub(super) fn iso(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis)
        .unwrap_or_default()
        .strftime("%Y-%m-%dT%H:%M:%S+0000")
        .to_string()
}

/// A cursor is a place, so that it survives deletions, and names its edge (graph-api.md 14).
fn write_cursor(account: &str, post: &Post) -> String {
    let (at, number) = post.place();
    format!("QVFI{}", hex::encode(format!("media:{account}:{at}:{number}")))
}

fn read_cursor(account: &str, text: &str) -> Result<(i64, u64), GraphError> {
    let read = || {
        let bytes = hex::decode(text.strip_prefix("QVFI")?).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (at, number) = text.strip_prefix(&format!("media:{account}:"))?.split_once(':')?;
        Some((at.parse().ok()?, number.parse().ok()?))
    };
    read().ok_or_else(|| GraphError::parameter("Invalid cursor"))
}

/// The path of the host of files.
pub(super) const CDN: &str = "ig_cdn";

/// The address of a post's file: signed, and good until the time in `oe`, seconds since 1970 in hexadecimal (instagram.md 5.3).
fn link(core: &Core, id: &str, kind: &str) -> String {
    let live = i64::try_from(core.options.rules.post_links_live.as_millis()).unwrap_or(i64::MAX / 2);
    let until = format!("{:X}", core.clock.now().saturating_add(live).div_euclid(1000));
    let hash = hash(core, id, &until);
    format!("{}/{CDN}/{id}.{kind}?oe={until}&oh={hash}", core.url)
}

fn hash(core: &Core, id: &str, until: &str) -> String {
    core.ids.digits("post link", &[id, until], 0, 24)
}

/// Answers for the host of files.
pub(super) fn download(core: &Core, state: &State, name: &str, params: &Params) -> Response<Body> {
    let (id, kind) = name.split_once('.').unwrap_or((name, ""));
    let until = params.text("oe").unwrap_or_default();
    if params.text("oh") != Some(&hash(core, id, until)) {
        return (StatusCode::FORBIDDEN, "Bad URL hash").into_response();
    }
    let seconds = i64::from_str_radix(until, 16).unwrap_or_default();
    if seconds <= core.clock.now().div_euclid(1000) {
        return (StatusCode::FORBIDDEN, "URL signature expired").into_response();
    }
    let Some(post) = state.posts.get(id) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let (mime, bytes) = match kind {
        "mp4" if post.is_film() && !post.flagged => ("video/mp4", film::film(&seed(id))),
        "png" => ("image/png", picture::picture(&seed(id))),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let headers = [(header::CONTENT_TYPE, mime), (header::CACHE_CONTROL, "max-age=86400")];
    (headers, Bytes::from(bytes)).into_response()
}

fn seed(id: &str) -> Vec<u8> {
    use aws_lc_rs::digest;
    digest::digest(&digest::SHA256, id.as_bytes()).as_ref().to_vec()
}
