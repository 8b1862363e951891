//! What can be asked of Meta, one method each.

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::nodes::{
    ActiveSubscription, InstagramAccount, InstalledApp, PhoneNumberNode, Profile, Sent, TokenReport, succeeded,
};
use super::transport::{Body, Call, UnnamedSuccess};
use super::{Exchange, GraphClient};

/// What Meta is to call (reference `graph-api.md` 10.1, `whatsapp.md` 12.3).
#[derive(Debug, Clone)]
pub struct Subscription {
    /// `whatsapp_business_account` or `instagram`.
    pub object: String,
    /// Where Meta posts to. Meta checks it at once with a verification request.
    pub callback_url: String,
    /// What that verification request must name.
    pub verify_token: SecretString,
    /// The complete list of fields: whether Meta adds to or replaces an earlier one is not documented.
    pub fields: Vec<String>,
}

/// The fields that are asked of a phone number: an unknown one fails the whole call (reference `whatsapp.md` 12.1).
const PHONE_NUMBER_FIELDS: &str = "verified_name,display_phone_number,quality_rating,throughput,status,name_status,\
    code_verification_status,platform_type,account_mode,is_official_business_account,is_on_biz_app,webhook_configuration,\
    health_status,whatsapp_business_manager_messaging_limit";

/// Reference `instagram.md` 1.3, step 6.
const INSTAGRAM_ACCOUNT_FIELDS: &str = "id,user_id,username,name,account_type,profile_picture_url,\
    followers_count,follows_count,media_count";

/// Reference `instagram.md` 3.10; `profile_picture_url` would fail the whole call here.
const INSTAGRAM_PROFILE_FIELDS: &str = "name,username,profile_pic";

impl GraphClient {
    /// Sends a WhatsApp message (reference `whatsapp.md` 9). The body is the whole request, `messaging_product` included.
    ///
    /// A success without a message id is [`super::CallError::Unknown`].
    pub async fn send_whatsapp(&self, token: &SecretString, phone_number_id: &str, body: &Value) -> Exchange<Sent> {
        let path = [phone_number_id, "messages"];
        let call = Call {
            on_unnamed_success: UnnamedSuccess::Unknown,
            ..post(token, &path, Body::Json(body))
        };
        self.call(call, Sent::read_message).await
    }

    /// Marks a message and all before it in its chat as read (reference `whatsapp.md` 9.4).
    pub async fn mark_read_whatsapp(
        &self,
        token: &SecretString,
        phone_number_id: &str,
        message_id: &str,
    ) -> Exchange<()> {
        let body = json!({"messaging_product": "whatsapp", "status": "read", "message_id": message_id});
        let path = [phone_number_id, "messages"];
        self.call(post(token, &path, Body::Json(&body)), succeeded).await
    }

    /// Marks a message as read and shows that an answer is being typed, for 25 seconds at most (reference `whatsapp.md` 9.4: one
    /// does not go without the other).
    pub async fn show_typing_whatsapp(
        &self,
        token: &SecretString,
        phone_number_id: &str,
        message_id: &str,
    ) -> Exchange<()> {
        let body = json!({"messaging_product": "whatsapp", "status": "read", "message_id": message_id,
            "typing_indicator": {"type": "text"}});
        let path = [phone_number_id, "messages"];
        self.call(post(token, &path, Body::Json(&body)), succeeded).await
    }

    /// Sends an Instagram message or a sender action (reference `instagram.md` 3.1, 3.3); `account_id` is the Instagram account's or
    /// the Page's, as the token's login path asks for.
    ///
    /// A sender action is answered without a message id; a message without one is [`super::CallError::Unknown`].
    pub async fn send_instagram(&self, token: &SecretString, account_id: &str, body: &Value) -> Exchange<Sent> {
        let path = [account_id, "messages"];
        let call = post(token, &path, Body::Json(body));
        if body.get("sender_action").is_some() {
            self.call(call, Sent::read_action).await
        } else {
            let call = Call {
                on_unnamed_success: UnnamedSuccess::Unknown,
                ..call
            };
            self.call(call, Sent::read_message).await
        }
    }

    /// Asks how a WhatsApp number stands (reference `whatsapp.md` 12.1).
    pub async fn phone_number(&self, token: &SecretString, phone_number_id: &str) -> Exchange<PhoneNumberNode> {
        let path = [phone_number_id];
        let query = [("fields", PHONE_NUMBER_FIELDS)];
        self.call(get(token, &path, &query), PhoneNumberNode::read).await
    }

    /// Asks whose Instagram token this is (reference `instagram.md` 1.3). Also the probe for a token's health, since `debug_token` is
    /// not documented for these.
    pub async fn instagram_account(&self, token: &SecretString) -> Exchange<InstagramAccount> {
        let query = [("fields", INSTAGRAM_ACCOUNT_FIELDS)];
        self.call(get(token, &["me"], &query), InstagramAccount::read).await
    }

    /// Asks for the profile of a person who wrote to the account (reference `instagram.md` 3.10).
    pub async fn instagram_profile(&self, token: &SecretString, igsid: &str) -> Exchange<Profile> {
        let path = [igsid];
        let query = [("fields", INSTAGRAM_PROFILE_FIELDS)];
        self.call(get(token, &path, &query), Profile::read).await
    }

    /// Asks what a token of the app is good for (reference `graph-api.md` 7, `whatsapp.md` 12.5). A token that is no longer valid is a
    /// success here, with [`TokenReport::is_valid`] false.
    pub async fn debug_token(&self, app_token: &SecretString, input: &SecretString) -> Exchange<TokenReport> {
        let query = [("input_token", input.expose_secret())];
        let call = Call {
            secrets: &[input],
            ..get(app_token, &["debug_token"], &query)
        };
        self.call(call, TokenReport::read).await
    }

    /// Tells Meta what to call and for which fields. Meta verifies the callback before it answers.
    pub async fn subscribe(&self, app_id: &str, app_token: &SecretString, subscription: &Subscription) -> Exchange<()> {
        let fields = subscription.fields.join(",");
        let form = [
            ("object", subscription.object.as_str()),
            ("callback_url", subscription.callback_url.as_str()),
            ("verify_token", subscription.verify_token.expose_secret()),
            ("fields", fields.as_str()),
            ("include_values", "true"),
        ];
        let path = [app_id, "subscriptions"];
        let call = Call {
            secrets: &[&subscription.verify_token],
            ..post(app_token, &path, Body::Form(&form))
        };
        self.call(call, succeeded).await
    }

    /// Ends everything that Meta calls for an object.
    pub async fn unsubscribe(&self, app_id: &str, app_token: &SecretString, object: &str) -> Exchange<()> {
        let path = [app_id, "subscriptions"];
        let query = [("object", object)];
        let call = Call {
            method: Method::DELETE,
            ..get(app_token, &path, &query)
        };
        self.call(call, succeeded).await
    }

    /// Asks what Meta calls now.
    pub async fn subscriptions(&self, app_id: &str, app_token: &SecretString) -> Exchange<Vec<ActiveSubscription>> {
        let path = [app_id, "subscriptions"];
        self.call(get(app_token, &path, &[]), ActiveSubscription::read_list)
            .await
    }

    /// Lets the app receive the webhooks of one account, without which none arrive (reference `graph-api.md` 10.2, `whatsapp.md` 12.4).
    /// The id is the WhatsApp Business Account's, the Page's or the Instagram account's, the token the account's own. Fields are
    /// named for Pages and Instagram accounts; a WhatsApp account takes those of the app's subscription, and an empty list here.
    pub async fn install_app(&self, token: &SecretString, account_id: &str, fields: &[&str]) -> Exchange<()> {
        let fields = fields.join(",");
        let query = [("subscribed_fields", fields.as_str())];
        let path = [account_id, "subscribed_apps"];
        let call = Call {
            method: Method::POST,
            ..get(token, &path, if fields.is_empty() { &[] } else { &query })
        };
        self.call(call, succeeded).await
    }

    /// Ends the app's webhooks of one account.
    pub async fn uninstall_app(&self, token: &SecretString, account_id: &str) -> Exchange<()> {
        let path = [account_id, "subscribed_apps"];
        let call = Call {
            method: Method::DELETE,
            ..get(token, &path, &[])
        };
        self.call(call, succeeded).await
    }

    /// Asks which apps receive the webhooks of one account.
    pub async fn installed_apps(&self, token: &SecretString, account_id: &str) -> Exchange<Vec<InstalledApp>> {
        let path = [account_id, "subscribed_apps"];
        self.call(get(token, &path, &[]), InstalledApp::read_list).await
    }
}

pub(super) fn get<'a>(token: &'a SecretString, path: &'a [&'a str], query: &'a [(&'a str, &'a str)]) -> Call<'a> {
    Call {
        method: Method::GET,
        path,
        query,
        body: Body::None,
        token,
        secrets: &[],
        on_unnamed_success: UnnamedSuccess::Unreadable,
    }
}

fn post<'a>(token: &'a SecretString, path: &'a [&'a str], body: Body<'a>) -> Call<'a> {
    Call {
        method: Method::POST,
        body,
        ..get(token, path, &[])
    }
}
