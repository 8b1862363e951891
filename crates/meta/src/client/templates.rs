//! Message templates of a WhatsApp Business Account: read page by page, made, edited, unpaused, deleted (reference `whatsapp.md` 10.2).

use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::calls::{get, post};
use super::nodes::{items, succeeded, text, text_of};
use super::transport::{Body, Call};
use super::{Exchange, GraphClient};

/// The fields that are asked of a template.
const FIELDS: &str = "id,name,language,status,category,parameter_format,components,quality_score,rejected_reason,correct_category,\
    message_send_ttl_seconds";

/// A template in one language, as Meta has it. Enumerations stay text, since Meta's lists of values are open.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TemplateNode {
    /// Meta's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its language, such as `en_US`.
    pub language: String,
    /// `APPROVED`, without which it cannot be sent, or why not.
    pub status: String,
    /// `UTILITY`, `MARKETING`, `AUTHENTICATION`.
    pub category: String,
    /// Whether its variables have names (`NAMED`) or numbers (`POSITIONAL`); `None` where Meta does not say.
    pub parameter_format: Option<String>,
    /// Header, body, footer, buttons and so on, as Meta tells them.
    pub components: Vec<Value>,
    /// `GREEN`, `YELLOW`, `RED`, `UNKNOWN`.
    pub quality: Option<String>,
    /// Why it was rejected.
    pub rejected_reason: Option<String>,
    /// The category that Meta is going to put it into.
    pub correct_category: Option<String>,
    /// How long Meta tries to deliver it.
    pub ttl_seconds: Option<i64>,
}

/// One page of templates.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TemplatePage {
    /// In Meta's order.
    pub templates: Vec<TemplateNode>,
    /// Where the next page begins; `None`: this was the last one.
    pub after: Option<String>,
}

/// What Meta says of a template that it has taken, to look at it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CreatedTemplate {
    /// Meta's id.
    pub id: String,
    /// `PENDING`, most often.
    pub status: Option<String>,
    /// The category that it was put into, which can be another one than was asked for.
    pub category: Option<String>,
}

impl TemplateNode {
    fn read(node: &Value) -> Option<Self> {
        let reason = text(node, "rejected_reason").filter(|reason| reason != "NONE");
        Some(Self {
            id: text(node, "id")?,
            name: text(node, "name")?,
            language: text(node, "language")?,
            status: text(node, "status")?,
            category: text(node, "category").unwrap_or_default(),
            parameter_format: text(node, "parameter_format"),
            components: items(&node["components"]).to_vec(),
            // An object, or the word alone.
            quality: text(&node["quality_score"], "score").or_else(|| text_of(&node["quality_score"])),
            rejected_reason: reason,
            correct_category: text(node, "correct_category"),
            ttl_seconds: node["message_send_ttl_seconds"].as_i64(),
        })
    }
}

impl TemplatePage {
    /// One that cannot be read is left out: it cannot be sent, either. Without `next` it is the last page (reference `whatsapp.md` 10.2).
    fn read(answer: &Value) -> Option<Self> {
        let templates = answer["data"].as_array()?.iter().filter_map(TemplateNode::read);
        let paging = &answer["paging"];
        let after = text(&paging["cursors"], "after").filter(|_| paging["next"].is_string());
        Some(Self {
            templates: templates.collect(),
            after,
        })
    }
}

impl CreatedTemplate {
    fn read(answer: &Value) -> Option<Self> {
        Some(Self {
            id: text(answer, "id")?,
            status: text(answer, "status"),
            category: text(answer, "category"),
        })
    }
}

impl GraphClient {
    /// Reads a page of an account's templates, after a place that the page before named.
    pub async fn templates(
        &self,
        token: &SecretString,
        account_id: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Exchange<TemplatePage> {
        let limit = limit.to_string();
        let mut query = vec![("fields", FIELDS), ("limit", limit.as_str())];
        query.extend(after.map(|after| ("after", after)));
        let path = [account_id, "message_templates"];
        self.call(get(token, &path, &query), TemplatePage::read).await
    }

    /// Makes a template: the body is name, language, category, components and so on, as Meta takes them.
    pub async fn create_template(
        &self,
        token: &SecretString,
        account_id: &str,
        draft: &Value,
    ) -> Exchange<CreatedTemplate> {
        let path = [account_id, "message_templates"];
        self.call(post(token, &path, Body::Json(draft)), CreatedTemplate::read)
            .await
    }

    /// Changes a template: its components, category or time to live. It is looked at anew.
    pub async fn edit_template(&self, token: &SecretString, template_id: &str, change: &Value) -> Exchange<()> {
        let path = [template_id];
        self.call(post(token, &path, Body::Json(change)), succeeded).await
    }

    /// Lets a template go on that is paused.
    pub async fn unpause_template(&self, token: &SecretString, template_id: &str) -> Exchange<()> {
        let path = [template_id, "unpause"];
        self.call(post(token, &path, Body::Json(&json!({}))), succeeded).await
    }

    /// Deletes a template in one language. Its name is blocked for 30 days.
    pub async fn delete_template(
        &self,
        token: &SecretString,
        account_id: &str,
        name: &str,
        template_id: &str,
    ) -> Exchange<()> {
        let path = [account_id, "message_templates"];
        let query = [("name", name), ("hsm_id", template_id)];
        let call = Call {
            method: Method::DELETE,
            ..get(token, &path, &query)
        };
        self.call(call, succeeded).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{TemplateNode, TemplatePage};

    #[test]
    fn a_page_is_read_as_the_reference_has_it() {
        let page = TemplatePage::read(&json!({"data": [
            {"name": "delivery_update", "parameter_format": "NAMED", "components": [{"type": "BODY", "text": "Hi {{first_name}}."}],
             "language": "en_GB", "status": "APPROVED", "category": "UTILITY", "quality_score": {"score": "GREEN", "date": 1_795_161_600},
             "id": "1190274458812203", "rejected_reason": "NONE"},
            {"name": "without an id"}],
            "paging": {"cursors": {"before": "QVFIUk1", "after": "QVFIUm9"}, "next": "https://graph.facebook.com/v25.0/…"}}))
        .unwrap();
        let expected = TemplateNode {
            id: "1190274458812203".to_owned(),
            name: "delivery_update".to_owned(),
            language: "en_GB".to_owned(),
            status: "APPROVED".to_owned(),
            category: "UTILITY".to_owned(),
            parameter_format: Some("NAMED".to_owned()),
            components: vec![json!({"type": "BODY", "text": "Hi {{first_name}}."})],
            quality: Some("GREEN".to_owned()),
            ..TemplateNode::default()
        };
        assert_eq!(page.templates, [expected]);
        assert_eq!(page.after.as_deref(), Some("QVFIUm9"));
    }

    #[test]
    fn a_page_without_next_is_the_last_one() {
        let page = TemplatePage::read(&json!({"data": [], "paging": {"cursors": {"after": "QVFIUm9"}}})).unwrap();
        assert_eq!(page, TemplatePage::default());
        assert_eq!(TemplatePage::read(&json!({"data": "none"})), None);
    }
}
