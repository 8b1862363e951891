//! Publishing through Graph: a container is made, becomes ready, and is published (instagram.md 5.5).
//!
//! Reels and single pictures. The file behind `video_url` is not fetched: the sandbox calls out to nobody.

use serde_json::{Value, json};

use super::error::GraphError;
use super::params::Params;
use super::posts::{PUBLISH, permit};
use super::tokens::Caller;
use crate::Core;
use crate::lock;
use crate::posts::{Audio, Container, NewPost, PostKind};
use crate::state::State;

/// How long a container takes to be ready, and how long it can be published.
const READY_MILLIS: i64 = 2_000;
const EXPIRES_MILLIS: i64 = 86_400_000;
/// Posts in any 24 hours.
const QUOTA: usize = 100;
const CAPTION_MAX: usize = 2_200;

/// `POST /{ig-id}/media`.
pub(super) fn make(core: &Core, account: &str, caller: &Caller, params: &Params) -> Result<Value, GraphError> {
    caller.may_use(account)?;
    permit(caller, PUBLISH)?;
    let (kind, file) = match (params.text("media_type"), params.text("image_url")) {
        (Some("REELS"), _) => (PostKind::Reel, params.required("video_url")?),
        (None | Some("IMAGE"), Some(url)) => (PostKind::Image, url),
        _ => {
            return Err(GraphError::parameter(
                "Param media_type must be one of {REELS}, or image_url must be given",
            ));
        }
    };
    if !file.starts_with("https://") && !file.starts_with("http://") {
        return Err(
            GraphError::new(400, 9004, "(#9004) The media could not be fetched from this URI").subcode(2_207_052),
        );
    }
    let caption = params.text("caption").unwrap_or_default();
    if caption.chars().count() > CAPTION_MAX {
        return Err(GraphError::new(400, 36_004, "(#36004) The caption is too long").subcode(2_207_010));
    }
    let mut state = lock(&core.state);
    let number = state.posts.count();
    let id = format!("178{}", state.ids.digits("container", &[account], number, 14));
    let container = Container {
        id: id.clone(),
        post: NewPost {
            kind,
            caption: Some(caption.to_owned()),
            audio: (kind == PostKind::Reel).then(|| {
                if params.get("audio_configuration").is_some() {
                    Audio::Music
                } else {
                    Audio::OriginalSound
                }
            }),
            ..NewPost::default()
        },
        made_at: core.clock.now(),
        is_published: false,
    };
    state.posts.add_container(account, container);
    Ok(json!({ "id": id }))
}

/// `GET /{container-id}`; `None` where there is none.
pub(super) fn look_up(core: &Core, state: &State, id: &str, caller: &Caller) -> Option<Result<Value, GraphError>> {
    let (account, container) = state.posts.container(id)?;
    if caller.may_use(account).is_err() {
        return Some(Err(GraphError::no_object("GET", id)));
    }
    let code = status(container, core.clock.now());
    Some(Ok(
        json!({"id": id, "status_code": code, "status": format!("{code}: see status_code")}),
    ))
}

fn status(container: &Container, now: i64) -> &'static str {
    match now - container.made_at {
        _ if container.is_published => "PUBLISHED",
        age if age < READY_MILLIS => "IN_PROGRESS",
        age if age < EXPIRES_MILLIS => "FINISHED",
        _ => "EXPIRED",
    }
}

/// `POST /{ig-id}/media_publish`.
pub(super) fn publish(core: &Core, account: &str, caller: &Caller, params: &Params) -> Result<Value, GraphError> {
    caller.may_use(account)?;
    permit(caller, PUBLISH)?;
    let id = params.required("creation_id")?;
    let now = core.clock.now();
    let mut state = lock(&core.state);
    let state = &mut *state;
    if state.posts.published(account, now).len() >= QUOTA {
        return Err(GraphError::new(400, 9, "(#9) The daily publishing quota is used up").subcode(2_207_042));
    }
    let missing = || GraphError::new(400, 24, "(#24) The container is missing or has expired").subcode(2_207_008);
    let container = state.posts.container_mut(account, id).ok_or_else(missing)?;
    match status(container, now) {
        "FINISHED" => {}
        "IN_PROGRESS" => {
            return Err(
                GraphError::new(400, 9007, "(#9007) The media is not ready to be published").subcode(2_207_027),
            );
        }
        _ => return Err(missing()),
    }
    container.is_published = true;
    let post = container.post.clone();
    state.posts.published(account, now).push(now);
    let post = state
        .posts
        .add(state.ids, post, account, now)
        .map_err(|error| GraphError::parameter(error.to_string()))?;
    Ok(json!({"id": post.id}))
}

/// `GET /{ig-id}/content_publishing_limit`.
pub(super) fn quota(state: &mut State, account: &str, caller: &Caller, now: i64) -> Result<Value, GraphError> {
    caller.may_use(account)?;
    permit(caller, PUBLISH)?;
    let used = state.posts.published(account, now).len();
    Ok(json!({"data": [{
        "quota_usage": used, "config": {"quota_total": QUOTA, "quota_duration": 86_400},
    }]}))
}
