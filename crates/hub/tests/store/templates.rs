//! Message templates, and when they are read anew.

use serde_json::json;
use tidings::channels::templates::model::{Definition, SyncState};
use tidings::ids::TemplateId;
use tidings::store::templates::TemplatePlace;

use crate::harness::{BEGIN, Lab, on_both};

const ACCOUNT: &str = "1000";

fn template(lab: &Lab, account: &str, name: &str, language: &str) -> Definition {
    Definition {
        id: lab.ids.next(),
        business_account: account.to_owned(),
        name: name.to_owned(),
        language: language.to_owned(),
        external_id: format!("{name}-{language}"),
        category: "utility".to_owned(),
        correct_category: None,
        status: "approved".to_owned(),
        reason: None,
        paused_until: None,
        quality: Some("green".to_owned()),
        is_named: true,
        components: vec![json!({"type": "BODY", "text": "Hi {{first_name}}, it's “fine”."})],
        ttl_seconds: Some(-1),
        status_at: None,
        told: 0,
        created_at: BEGIN,
        changed_at: BEGIN,
    }
}

async fn keep(lab: &Lab, some: Vec<Definition>) {
    lab.write(move |tx| tx.keep_templates(&some.iter().collect::<Vec<_>>()))
        .await;
}

#[test]
fn a_template_is_read_back_and_changed_under_its_own_id() {
    on_both(async |lab| {
        let first = template(lab, ACCOUNT, "order", "en_GB");
        let other = Definition {
            is_named: false,
            ttl_seconds: None,
            quality: None,
            ..template(lab, "2000", "order", "en_GB")
        };
        keep(lab, vec![first.clone(), other.clone()]).await;
        assert_eq!(
            lab.read(|tx| tx.template(ACCOUNT, "order", "en_GB")).await,
            Some(first.clone())
        );
        assert_eq!(
            lab.read(|tx| tx.template("2000", "order", "en_GB")).await,
            Some(other.clone())
        );
        assert_eq!(lab.read(|tx| tx.template(ACCOUNT, "order", "en")).await, None);

        let changed = Definition {
            id: lab.ids.next(),
            status: "paused".to_owned(),
            reason: Some("People do not like it".to_owned()),
            paused_until: Some(BEGIN + 3),
            correct_category: Some("marketing".to_owned()),
            external_id: "again".to_owned(),
            is_named: false,
            components: Vec::new(),
            status_at: Some(BEGIN + 1),
            told: 7,
            changed_at: BEGIN + 2,
            ..first.clone()
        };
        keep(lab, vec![changed.clone()]).await;
        let expected = Definition {
            id: first.id,
            ..changed
        };
        let ids = [first.id, other.id, TemplateId::MIN];
        let mut found = lab.read(move |tx| tx.templates_by_ids(&ids)).await;
        found.sort_by_key(|definition| definition.business_account.clone());
        assert_eq!(found, [expected, other]);
    });
}

#[test]
fn templates_are_listed_by_name_and_by_account() {
    on_both(async |lab| {
        let some = [
            ("2000", "a", "nl"),
            (ACCOUNT, "a", "en"),
            (ACCOUNT, "b", "en"),
            ("2000", "a", "en"),
        ];
        keep(
            lab,
            some.map(|(account, name, language)| template(lab, account, name, language))
                .to_vec(),
        )
        .await;
        let key = |one: &Definition| (one.name.clone(), one.language.clone(), one.business_account.clone());
        let mut place = TemplatePlace {
            name: String::new(),
            language: String::new(),
            business_account: String::new(),
        };
        let mut found = Vec::new();
        loop {
            let after = place.clone();
            let page = lab.read(move |tx| tx.templates_after(&after, 2)).await;
            let Some(last) = page.last() else { break };
            let (name, language, business_account) = key(last);
            place = TemplatePlace {
                name,
                language,
                business_account,
            };
            found.extend(page.iter().map(key));
        }
        let expected = [
            ("a", "en", ACCOUNT),
            ("a", "en", "2000"),
            ("a", "nl", "2000"),
            ("b", "en", ACCOUNT),
        ];
        let expected = expected.map(|(name, language, account)| (name.into(), language.into(), account.into()));
        assert_eq!(found, expected);
        let own = lab.read(|tx| tx.templates_of_account("2000", 10)).await;
        assert_eq!(own.len(), 2);
        assert_eq!(lab.read(|tx| tx.templates_of_account("2000", 1)).await.len(), 1);
        assert_eq!(lab.read(|tx| tx.template_languages("2000", "a")).await, ["en", "nl"]);
    });
}

#[test]
fn what_has_to_be_known_before_a_send_is_looked_up_together() {
    on_both(async |lab| {
        let paused = Definition {
            status: "paused".to_owned(),
            paused_until: Some(BEGIN + 5),
            ..template(lab, ACCOUNT, "a", "en")
        };
        keep(lab, vec![paused, template(lab, ACCOUNT, "b", "en")]).await;
        let keys = [("a", "en"), ("b", "en"), ("a", "nl"), ("c", "en")];
        let mut found = lab.write(move |tx| tx.template_standings(ACCOUNT, &keys)).await;
        found.sort_by(|one, other| one.name.cmp(&other.name));
        let told: Vec<_> = found
            .iter()
            .map(|one| {
                (
                    one.name.as_str(),
                    one.status.as_str(),
                    one.paused_until,
                    one.category.as_str(),
                )
            })
            .collect();
        let expected = [
            ("a", "paused", Some(BEGIN + 5), "utility"),
            ("b", "approved", None, "utility"),
        ];
        assert_eq!(told, expected);
        assert_eq!(lab.write(|tx| tx.template_standings(ACCOUNT, &[])).await, []);
    });
}

#[test]
fn what_was_deleted_long_ago_is_forgotten() {
    on_both(async |lab| {
        let deleted = |name: &str, at| Definition {
            status: "deleted".to_owned(),
            changed_at: at,
            ..template(lab, ACCOUNT, name, "en")
        };
        let some = vec![
            deleted("old", BEGIN - 2),
            deleted("new", BEGIN),
            template(lab, ACCOUNT, "kept", "en"),
        ];
        keep(lab, some).await;
        assert_eq!(lab.read(|tx| tx.template_languages(ACCOUNT, "new")).await, [""; 0]);
        assert_eq!(lab.write(|tx| tx.prune_templates("2000", BEGIN)).await, 0);
        assert_eq!(lab.write(|tx| tx.prune_templates(ACCOUNT, BEGIN - 1)).await, 1);
        assert_eq!(lab.read(|tx| tx.templates_of_account(ACCOUNT, 10)).await.len(), 2);
    });
}

async fn claim(lab: &Lab, now: i64) -> Option<SyncState> {
    lab.write(move |tx| tx.claim_template_sync(ACCOUNT, now, now + 100))
        .await
}

#[test]
fn one_reads_an_account_at_a_time_and_when_it_is_due() {
    on_both(async |lab| {
        assert_eq!(lab.read(|tx| tx.template_sync(ACCOUNT)).await, None);
        let first = claim(lab, BEGIN).await.unwrap();
        assert_eq!((first.wanted, first.synced_at, first.due_at), (0, None, BEGIN + 100));
        assert_eq!(claim(lab, BEGIN + 99).await, None, "somebody reads it");
        let state = SyncState {
            synced_at: Some(BEGIN + 1),
            due_at: BEGIN + 1_000,
            ..first
        };
        let kept = state.clone();
        lab.write(move |tx| tx.finish_template_sync(&kept)).await;
        assert_eq!(lab.read(|tx| tx.template_sync(ACCOUNT)).await, Some(state.clone()));
        assert_eq!(claim(lab, BEGIN + 999).await, None, "it is not due");
        let second = claim(lab, BEGIN + 1_000).await.unwrap();
        assert_eq!(second.synced_at, Some(BEGIN + 1));

        let failed = SyncState {
            failures: 1,
            error: Some("Meta did not answer".to_owned()),
            due_at: BEGIN + 2_000,
            ..second
        };
        let kept = failed.clone();
        lab.write(move |tx| tx.finish_template_sync(&kept)).await;
        assert_eq!(lab.write(|tx| tx.lock_template_sync(ACCOUNT)).await, Some(failed));
    });
}

#[test]
fn who_asks_while_it_is_read_has_it_read_once_more() {
    on_both(async |lab| {
        assert_eq!(lab.write(|tx| tx.want_template_sync(ACCOUNT, BEGIN)).await, 1);
        let claimed = claim(lab, BEGIN).await.unwrap();
        assert_eq!(claimed.wanted, 1);
        assert_eq!(lab.write(|tx| tx.want_template_sync(ACCOUNT, BEGIN + 1)).await, 2);
        let state = SyncState {
            synced_at: Some(BEGIN + 2),
            due_at: BEGIN + 1_000,
            ..claimed
        };
        lab.write(move |tx| tx.finish_template_sync(&state)).await;
        let now = lab.read(|tx| tx.template_sync(ACCOUNT)).await.unwrap();
        assert_eq!((now.wanted, now.due_at), (2, BEGIN + 1));
        let again = claim(lab, BEGIN + 3).await.unwrap();
        let state = SyncState {
            due_at: BEGIN + 1_000,
            ..again
        };
        lab.write(move |tx| tx.finish_template_sync(&state)).await;
        assert_eq!(claim(lab, BEGIN + 999).await, None);
    });
}
