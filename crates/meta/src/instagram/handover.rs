//! A thread changing hands between apps (`instagram.md` 2.6, `messaging_handover`).

use super::json::{self, Object};

/// How a thread changed hands. Compare app ids only with your own: Meta's own apps have no documented ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handover {
    /// The owner gave the thread to another app.
    Passed {
        /// `None` if nobody owned the thread.
        previous_owner_app_id: Option<String>,
        /// `None` if nobody owns it now.
        new_owner_app_id: Option<String>,
        /// What the app said along with it.
        metadata: Option<String>,
    },
    /// An app took the thread from its owner.
    Taken {
        /// `None` if nobody owned the thread.
        previous_owner_app_id: Option<String>,
        /// Who owns it now.
        new_owner_app_id: Option<String>,
        /// What the app said along with it.
        metadata: Option<String>,
    },
    /// An app asks the owner for the thread.
    Requested {
        /// The app that asks.
        requested_owner_app_id: Option<String>,
        /// What the app said along with it.
        metadata: Option<String>,
    },
    /// The roles of the apps on this account have changed.
    Roles(Vec<AppRoles>),
}

/// What one app is on the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppRoles {
    /// The app.
    pub app_id: String,
    /// `primary_receiver`, `secondary_receiver`…
    pub roles: Vec<String>,
}

impl Handover {
    /// `key` is the one that the event was known by. `None` for a key that is no handover's.
    pub(super) fn read(key: &str, body: &Object<'_>) -> Option<Self> {
        let previous_owner_app_id = body.string("previous_owner_app_id");
        let new_owner_app_id = body.string("new_owner_app_id");
        let metadata = body.string("metadata").filter(|metadata| !metadata.is_empty());
        match key {
            "pass_thread_control" => Some(Self::Passed {
                previous_owner_app_id,
                new_owner_app_id,
                metadata,
            }),
            "take_thread_control" => Some(Self::Taken {
                previous_owner_app_id,
                new_owner_app_id,
                metadata,
            }),
            "request_thread_control" => Some(Self::Requested {
                requested_owner_app_id: body.string("requested_owner_app_id"),
                metadata,
            }),
            "app_roles" => Some(Self::Roles(
                body.members()
                    .map(|(app_id, roles)| AppRoles {
                        app_id: app_id.to_owned(),
                        roles: json::list(roles)
                            .unwrap_or_default()
                            .into_iter()
                            .filter_map(|role| json::text(role).map(Into::into))
                            .collect(),
                    })
                    .collect(),
            )),
            _ => None,
        }
    }
}
