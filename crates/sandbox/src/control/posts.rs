//! What Instagram accounts have posted, over HTTP.

use std::sync::Arc;

use axum::extract::{Path, State as Extract};
use axum::http::StatusCode;
use axum::routing::{get, patch};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{Read, Refusal};
use crate::Core;
use crate::lock;
use crate::posts::comments::shown;
use crate::posts::{NewPost, Post, PostChange, PostError};

pub(super) fn routes() -> Router<Arc<Core>> {
    Router::new()
        .route("/sandbox/instagram-accounts/{account}/posts", get(list).post(add))
        .route("/sandbox/posts/{post}", patch(change).delete(remove))
        .route("/sandbox/posts/{post}/comments", get(comments))
}

/// Most posts in one answer.
const POSTS_SHOWN_MAX: usize = 1000;

impl From<PostError> for Refusal {
    fn from(error: PostError) -> Self {
        let (status, code) = match error {
            PostError::UnknownAccount(_) => (StatusCode::NOT_FOUND, "unknown_account"),
            PostError::UnknownPost(_) => (StatusCode::NOT_FOUND, "unknown_post"),
            PostError::Taken(_) => (StatusCode::CONFLICT, "taken"),
            PostError::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_post"),
        };
        Self::new(status, code, error.to_string())
    }
}

async fn list(Extract(core): Extract<Arc<Core>>, Path(account): Path<String>) -> Json<Value> {
    let state = lock(&core.state);
    let posts: Vec<&Post> = state.posts.of(&account).iter().take(POSTS_SHOWN_MAX).collect();
    Json(json!({ "posts": posts }))
}

async fn add(
    Extract(core): Extract<Arc<Core>>,
    Path(account): Path<String>,
    Read(mut new): Read<NewPost>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    new.account = Some(account);
    let id = core.add_post(new)?;
    Ok((StatusCode::CREATED, Json(json!({ "id": id }))))
}

/// The newest are shown, the oldest of them first.
async fn comments(Extract(core): Extract<Arc<Core>>, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    let state = lock(&core.state);
    if state.posts.get(&id).is_none() {
        return Err(PostError::UnknownPost(id).into());
    }
    let mut shown: Vec<Value> = (state.comments.under(&id).rev().take(POSTS_SHOWN_MAX))
        .map(|comment| shown(&state, comment))
        .collect();
    shown.reverse();
    Ok(Json(json!({ "comments": shown })))
}

async fn change(
    Extract(core): Extract<Arc<Core>>,
    Path(id): Path<String>,
    Read(change): Read<PostChange>,
) -> Result<Json<Value>, Refusal> {
    Ok(Json(json!(core.change_post(&id, change)?)))
}

async fn remove(Extract(core): Extract<Arc<Core>>, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    core.remove_post(&id)?;
    Ok(Json(json!({"success": true})))
}
