//! Tokens as an app gets them, lengthens them and ends them; what they may; and the proof of the app's secret.

use aws_lc_rs::hmac;
use reqwest::Method;
use serde_json::{Value, json};
use tidings_sandbox::{Login, Options, World};

use super::harness::{ACCOUNT, Harness, PHONE, code, start, stepped, text_to};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
const CALLBACK: &str = "https://hub.example.com/login";
const FACEBOOK: (&str, &str) = ("600000000000001", "5a17db0c5ec2e7000000000000000001");
const INSTAGRAM: (&str, &str) = ("600000000000002", "5a17db0c5ec2e7000000000000000002");

/// A call without a token in its header.
async fn ask(harness: &Harness, path: &str, query: &[(&str, &str)]) -> (u16, Value) {
    let request = harness.http.get(format!("{}{path}", harness.sandbox.url()));
    let answer = request.query(query).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn code_for(harness: &Harness, account: &str, for_business: bool) -> String {
    let login = Login {
        account: account.to_owned(),
        redirect_uri: CALLBACK.to_owned(),
        for_business,
        ..Login::default()
    };
    harness.sandbox.log_in(login).unwrap()
}

/// Instagram's exchange of a code: a form.
async fn instagram_token(harness: &Harness, code: &str, change: (&str, &str)) -> (u16, Value) {
    let mut form = vec![
        ("client_id", INSTAGRAM.0),
        ("client_secret", INSTAGRAM.1),
        ("grant_type", "authorization_code"),
        ("redirect_uri", CALLBACK),
        ("code", code),
    ];
    form.retain(|(name, _)| *name != change.0);
    if !change.1.is_empty() {
        form.push(change);
    }
    let request = harness
        .http
        .post(format!("{}/oauth/access_token", harness.sandbox.url()));
    let answer = request.form(&form).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn longer(harness: &Harness, token: &str, secret: &str) -> (u16, Value) {
    let query = [
        ("grant_type", "ig_exchange_token"),
        ("client_secret", secret),
        ("access_token", token),
    ];
    ask(harness, "/access_token", &query).await
}

async fn refresh(harness: &Harness, token: &str) -> (u16, Value) {
    let query = [("grant_type", "ig_refresh_token"), ("access_token", token)];
    ask(harness, "/refresh_access_token", &query).await
}

fn token(answer: &(u16, Value)) -> String {
    assert_eq!(answer.0, 200, "{answer:?}");
    answer.1["access_token"].as_str().unwrap().to_owned()
}

async fn works(harness: &Harness, token: &str) -> (u16, Value) {
    harness.get("/v26.0/me?fields=id", token).await
}

#[tokio::test]
async fn an_instagram_login_becomes_a_token_that_is_refreshed_for_ever() {
    let harness = start(stepped()).await;
    let given = code_for(&harness, ACCOUNT, false);
    let answer = instagram_token(&harness, &given, ("", "")).await;
    let short = token(&answer);
    assert_eq!(answer.1["user_id"], ACCOUNT.parse::<u64>().unwrap());
    assert_eq!(answer.1["permissions"][0], "instagram_business_basic");
    assert_eq!(works(&harness, &short).await.0, 200);
    assert_eq!(
        code(&refresh(&harness, &short).await),
        (400, 100, None),
        "it is a short one"
    );

    let answer = longer(&harness, &short, INSTAGRAM.1).await;
    let mut long = token(&answer);
    assert_eq!(
        (&answer.1["expires_in"], &answer.1["token_type"]),
        (&json!(5_184_000), &json!("bearer"))
    );
    assert_eq!(
        code(&longer(&harness, &long, INSTAGRAM.1).await),
        (400, 100, None),
        "it is a long one"
    );
    assert_eq!(code(&longer(&harness, &short, "wrong").await), (401, 190, None));
    harness.advance(HOUR).await;
    assert_eq!(code(&works(&harness, &short).await), (401, 190, Some(463)));
    assert_eq!(
        code(&longer(&harness, &short, INSTAGRAM.1).await),
        (401, 190, Some(463))
    );

    // A day old, and not a moment less.
    harness.advance(23 * HOUR - 1).await;
    assert_eq!(code(&refresh(&harness, &long).await), (400, 100, None));
    harness.advance(1).await;
    for _ in 0..3 {
        let answer = refresh(&harness, &long).await;
        assert_eq!(answer.1["expires_in"], 5_184_000);
        assert!(
            answer.1["permissions"]
                .as_str()
                .unwrap()
                .contains("instagram_business_basic,")
        );
        assert_ne!(token(&answer), long);
        long = token(&answer);
        harness.advance(59 * DAY).await;
        assert_eq!(works(&harness, &long).await.0, 200);
    }
    harness.advance(DAY).await;
    assert_eq!(
        code(&refresh(&harness, &long).await),
        (401, 190, Some(463)),
        "60 days without a refresh"
    );
}

#[tokio::test]
async fn what_does_not_belong_together_is_exchanged_for_nothing() {
    let harness = start(stepped()).await;
    for change in [
        ("client_secret", "wrong"),
        ("client_id", "1"),
        ("client_id", FACEBOOK.0),
        ("grant_type", "ig_exchange_token"),
        ("grant_type", ""),
        ("redirect_uri", "https://elsewhere.example.com"),
        ("redirect_uri", ""),
        ("code", "unknown"),
        ("code", ""),
    ] {
        let given = code_for(&harness, ACCOUNT, false);
        let (status, error, _) = code(&instagram_token(&harness, &given, change).await);
        let expected = if matches!(change.0, "client_secret" | "client_id") {
            (401, 190)
        } else {
            (400, 100)
        };
        assert_eq!((status, error), expected, "{change:?}");
    }
    let given = code_for(&harness, ACCOUNT, false);
    token(&instagram_token(&harness, &given, ("", "")).await);
    assert_eq!(
        code(&instagram_token(&harness, &given, ("", "")).await),
        (400, 100, None),
        "a code is good once"
    );
    let given = code_for(&harness, ACCOUNT, false);
    harness.advance(HOUR).await;
    assert_eq!(
        code(&instagram_token(&harness, &given, ("", "")).await),
        (400, 100, None),
        "and an hour"
    );

    let wrong = [("grant_type", "ig_exchange_token"), ("access_token", "x")];
    assert_eq!(
        code(&ask(&harness, "/refresh_access_token", &wrong).await),
        (400, 100, None)
    );
    let unknown = [("grant_type", "ig_refresh_token"), ("access_token", "IGAAnobodys")];
    assert_eq!(
        code(&ask(&harness, "/refresh_access_token", &unknown).await),
        (401, 190, None)
    );
    // Neither a system user's token, nor one without the basic permission, nor one that was revoked.
    let system = harness.variable("WHATSAPP_ACCESS_TOKEN");
    assert_eq!(code(&refresh(&harness, &system).await), (400, 100, None));
    let narrow = json!({"account": ACCOUNT, "scopes": ["instagram_business_manage_messages"], "expiresInMs": 60 * DAY});
    let (_, narrow) = harness.post("/sandbox/tokens", "", &narrow).await;
    harness.advance(DAY).await;
    let narrow = narrow["token"].as_str().unwrap();
    assert_eq!(code(&refresh(&harness, narrow).await), (403, 10, None));
    harness.sandbox.revoke_tokens(narrow).unwrap();
    assert_eq!(code(&refresh(&harness, narrow).await), (401, 190, Some(467)));
    let refused = harness
        .post("/sandbox/logins", "", &json!({"account": "1", "redirectUri": CALLBACK}))
        .await;
    assert_eq!(refused.0, 404);
}

#[tokio::test]
async fn facebook_exchanges_the_tokens_of_people_and_of_systems() {
    let harness = start(stepped()).await;
    let oauth = async |query: &[(&str, &str)]| {
        let mut whole = vec![("client_id", FACEBOOK.0), ("client_secret", FACEBOOK.1)];
        whole.extend_from_slice(query);
        ask(&harness, "/v26.0/oauth/access_token", &whole).await
    };
    let exchange = async |token: &str, more: &[(&str, &str)]| {
        let mut query = vec![("grant_type", "fb_exchange_token"), ("fb_exchange_token", token)];
        query.extend_from_slice(more);
        oauth(&query).await
    };
    let kind = async |token: &str| {
        let app = format!("{}|{}", FACEBOOK.0, FACEBOOK.1);
        let (_, debug) = harness.get(&format!("/debug_token?input_token={token}"), &app).await;
        debug["data"]["type"].as_str().unwrap().to_owned()
    };
    let given = code_for(&harness, PHONE, false);
    let answer = oauth(&[("redirect_uri", CALLBACK), ("code", &given)]).await;
    let short = token(&answer);
    assert_eq!(
        (answer.1["expires_in"].as_i64(), kind(&short).await.as_str()),
        (Some(3_600), "USER")
    );
    let answer = exchange(&short, &[]).await;
    let long = token(&answer);
    assert_eq!(answer.1["expires_in"], 5_184_000);
    // It takes a new login to go beyond them.
    harness.advance(DAY).await;
    let again = exchange(&long, &[]).await;
    assert_eq!(
        (token(&again), &again.1["expires_in"]),
        (long.clone(), &json!(59 * 86_400))
    );
    assert_eq!(code(&exchange(&short, &[]).await), (401, 190, Some(463)));
    harness.advance(59 * DAY).await;
    assert_eq!(code(&works(&harness, &long).await), (401, 190, Some(463)));

    // A business logs in: its token stays.
    let given = code_for(&harness, PHONE, true);
    let answer = oauth(&[("redirect_uri", CALLBACK), ("code", &given)]).await;
    let lasting = token(&answer);
    assert_eq!(
        (answer.1.get("expires_in"), kind(&lasting).await.as_str()),
        (None, "SYSTEM_USER")
    );
    // Embedded Signup has no address that a code is handed to.
    let within = json!({"account": PHONE, "forBusiness": true});
    let (_, within) = harness.post("/sandbox/logins", "", &within).await;
    token(&oauth(&[("code", within["code"].as_str().unwrap())]).await);
    let addressed = code_for(&harness, PHONE, true);
    assert_eq!(code(&oauth(&[("code", &addressed)]).await), (400, 100, None));
    assert_eq!(
        code(&exchange(&lasting, &[]).await),
        (400, 100, None),
        "60 days have to be asked for"
    );
    let sixty = [("set_token_expires_in_60_days", "true")];
    let renewed = token(&exchange(&lasting, &sixty).await);
    harness.advance(59 * DAY).await;
    let renewed = token(&exchange(&renewed, &sixty).await);
    harness.advance(2 * DAY).await;
    assert_eq!(works(&harness, &renewed).await.0, 200);

    // Revoked, by its app alone.
    let system = harness.variable("WHATSAPP_ACCESS_TOKEN");
    let revoke = async |app: (&str, &str), token: &str| {
        let query = [
            ("client_id", app.0),
            ("client_secret", app.1),
            ("revoke_token", token),
            ("access_token", &system),
        ];
        ask(&harness, "/v26.0/oauth/revoke", &query).await
    };
    assert_eq!(code(&revoke(INSTAGRAM, &renewed).await), (400, 100, None));
    assert_eq!(code(&revoke(FACEBOOK, "EAAnobodys").await), (400, 100, None));
    assert_eq!(revoke(FACEBOOK, &renewed).await, (200, json!({"success": true})));
    assert_eq!(code(&works(&harness, &renewed).await), (401, 190, Some(467)));
    assert_eq!(code(&exchange(&renewed, &sixty).await), (401, 190, Some(467)));
    let ledger = serde_json::to_string(&harness.sandbox.ledger()).unwrap();
    for secret in [&short, &long, &lasting, &given, FACEBOOK.1] {
        assert!(!ledger.contains(secret), "{secret} is in the ledger");
    }
    // And an error that was asked for comes here too.
    let fault = json!({"endpoint": "tokens", "kind": "error", "code": 2, "count": 1});
    harness.post("/sandbox/faults", "", &fault).await;
    assert_eq!(code(&exchange(&lasting, &sixty).await), (503, 2, None));
    token(&exchange(&lasting, &sixty).await);
}

#[tokio::test]
async fn a_token_does_what_it_was_allowed() {
    let harness = start(stepped()).await;
    harness.writes("amara", PHONE, "hello");
    harness.writes("lucia", ACCOUNT, "hello");
    let igsid = harness.igsid("lucia").await;
    let token_for = async |account: &str, scope: &str| {
        let wanted = json!({"account": account, "scopes": [scope]});
        let (_, made) = harness.post("/sandbox/tokens", "", &wanted).await;
        made["token"].as_str().unwrap().to_owned()
    };
    let messaging = token_for(PHONE, "whatsapp_business_messaging").await;
    let management = token_for(PHONE, "whatsapp_business_management").await;
    let basic = token_for(ACCOUNT, "instagram_business_basic").await;
    let mut hi = text_to("447700900101", "hi");
    hi["messaging_product"] = json!("whatsapp");
    let direct = json!({"recipient": {"id": igsid}, "message": {"text": "hi"}});
    let lacking = (403, 10, None);

    let path = format!("/{PHONE}/messages");
    assert_eq!(harness.post(&path, &messaging, &hi).await.0, 200);
    assert_eq!(code(&harness.post(&path, &management, &hi).await), lacking);
    for path in [
        PHONE.to_owned(),
        format!("{PHONE}/whatsapp_business_profile"),
        "100000000000001/message_templates".to_owned(),
    ] {
        let path = format!("/{path}");
        assert_eq!(harness.get(&path, &management).await.0, 200, "{path}");
        assert_eq!(code(&harness.get(&path, &messaging).await), lacking, "{path}");
    }
    for path in [format!("/{ACCOUNT}/messages"), "/me/messages".to_owned()] {
        assert_eq!(code(&harness.post(&path, &basic, &direct).await), lacking, "{path}");
    }
    assert_eq!(harness.get("/me", &basic).await.0, 200);
}

fn proof(secret: &str, token: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hex::encode(hmac::sign(&key, token.as_bytes()))
}

#[tokio::test]
async fn the_proof_is_checked_where_it_is_given_and_missed_where_the_app_demands_it() {
    let harness = start(Options {
        world: World::default(),
        ..stepped()
    })
    .await;
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    let right = proof(FACEBOOK.1, &token);
    let with = |proof: &str| format!("/{PHONE}?appsecret_proof={proof}");
    assert_eq!(harness.get(&with(&right), &token).await.0, 200);
    for wrong in [
        proof(INSTAGRAM.1, &token),
        proof(FACEBOOK.1, "x"),
        right.to_uppercase(),
        String::new(),
    ] {
        assert_eq!(
            code(&harness.get(&with(&wrong), &token).await),
            (400, 100, None),
            "{wrong}"
        );
    }
    let demand = async |required: bool| {
        let request = harness.http.request(
            Method::PATCH,
            format!("{}/sandbox/apps/{}", harness.sandbox.url(), FACEBOOK.0),
        );
        harness
            .call(request.json(&json!({"requiresProof": required})), "")
            .await
            .0
    };
    assert_eq!(demand(true).await, 200);
    let (status, refused) = harness.get(&format!("/{PHONE}"), &token).await;
    assert_eq!((status, &refused["error"]["code"]), (400, &json!(100)));
    let said = refused["error"]["message"].as_str().unwrap();
    assert!(
        said.contains("API calls from the server require an appsecret_proof argument"),
        "{said}"
    );
    assert_eq!(harness.get(&with(&right), &token).await.0, 200);
    // Each token has a proof of its own.
    let other = harness.sandbox.mint_token(PHONE, None).unwrap();
    assert_eq!(code(&harness.get(&with(&right), &other).await), (400, 100, None));
    assert_eq!(harness.get(&with(&proof(FACEBOOK.1, &other)), &other).await.0, 200);
    // The other app demands nothing.
    let instagram = harness.variable("META_IG_ACCESS_TOKEN");
    assert_eq!(harness.get("/me", &instagram).await.0, 200);

    // In a batch the proof of the whole is that of each item; one with a token of its own brings its own.
    let own = format!("{PHONE}?access_token={other}");
    let proven = format!("{own}&appsecret_proof={}", proof(FACEBOOK.1, &other));
    let items = json!([{"relative_url": PHONE}, {"relative_url": own}, {"relative_url": proven}]).to_string();
    let batch = async |proof: Option<&str>| {
        let mut form = vec![("batch", items.as_str())];
        form.extend(proof.map(|proof| ("appsecret_proof", proof)));
        let request = harness.http.post(harness.sandbox.url()).form(&form);
        harness.call(request, &token).await
    };
    assert_eq!(code(&batch(None).await), (400, 100, None));
    let (_, answers) = batch(Some(&right)).await;
    let codes: Vec<&Value> = answers
        .as_array()
        .unwrap()
        .iter()
        .map(|answer| &answer["code"])
        .collect();
    assert_eq!(codes, [200, 400, 200]);
    assert_eq!(demand(false).await, 200);
    assert_eq!(harness.get(&format!("/{PHONE}"), &token).await.0, 200);
}
