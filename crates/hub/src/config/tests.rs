//! What settings mean, from outside: order, aliases, every kind of mistake, and that no secret is shown.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tidings_meta::notification::Platform;

use super::layers::DEFAULTS;
use super::settings::SETTINGS;
use super::{Config, ConfigFile, Loaded, LogFormat, Sources};
use crate::channels::model::ChannelKind;
use crate::sending::route::model::{RouteOrder, Success, TOLD};

fn variables(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn environment(list: &[(&str, &str)]) -> Sources {
    Sources {
        environment: variables(list),
        ..Sources::default()
    }
}

fn file(text: &str) -> Sources {
    Sources {
        file: Some(ConfigFile {
            path: PathBuf::from("tidings.toml"),
            text: text.to_owned(),
        }),
        ..Sources::default()
    }
}

#[track_caller]
fn load(sources: Sources) -> Loaded {
    Config::load(sources).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The mistakes as they are told, in their order.
#[track_caller]
fn mistakes(sources: Sources) -> Vec<String> {
    match Config::load(sources) {
        Ok(_) => panic!("the settings were taken"),
        Err(errors) => errors.0.iter().map(ToString::to_string).collect(),
    }
}

#[track_caller]
fn is_refused(sources: Sources, told: &str) {
    assert_eq!(mistakes(sources), [told]);
}

fn exposed(secrets: &[SecretString]) -> Vec<&str> {
    secrets.iter().map(ExposeSecret::expose_secret).collect()
}

#[track_caller]
fn shown<'l>(loaded: &'l Loaded, key: &str) -> (Option<&'l str>, &'l str) {
    let setting = loaded
        .effective
        .iter()
        .find(|setting| setting.key == key)
        .unwrap_or_else(|| panic!("{key} is not shown"));
    (setting.value.as_deref(), &setting.source)
}

// The defaults.

#[test]
fn without_any_source_the_defaults_hold() {
    let Loaded { config, warnings, .. } = load(Sources::default());
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.data_dir, PathBuf::from("./tidings-data"));
    assert_eq!(
        config.database_url.expose_secret(),
        "sqlite://./tidings-data/tidings.db"
    );
    assert_eq!(config.public_url, None);
    assert!(config.admin_key.is_none());
    assert_eq!(
        (config.log.filter.as_str(), config.log.format),
        ("info", LogFormat::Pretty)
    );
    assert!(config.webhooks.signature_required);
    assert_eq!(
        (
            config.webhooks.batch_size,
            config.webhooks.retry_attempts,
            config.webhooks.max_queue
        ),
        (100, 3, 1000)
    );
    assert_eq!(config.webhooks.retry_delay, Duration::from_secs(5));
    assert_eq!(config.webhooks.body_bytes_max, 3 * 1024 * 1024);
    assert!(config.webhooks.whatsapp.app_secrets.is_empty() && config.webhooks.instagram.verify_tokens.is_empty());
    assert_eq!(config.graph.whatsapp_base_url, "https://graph.facebook.com");
    assert_eq!(config.graph.instagram_base_url, "https://graph.instagram.com");
    assert_eq!(config.graph.version, "v26.0");
    assert_eq!(config.graph.request_timeout, Duration::from_secs(10));
    assert_eq!(config.graph.connect_timeout, Duration::from_secs(5));
    assert_eq!(config.sending.parallel, 500);
    assert_eq!(config.sending.whatsapp.per_second, 80);
    assert_eq!(config.sending.instagram.per_hour, 200);
    assert_eq!(config.sending.unknown_after, Duration::from_mins(1));
    assert_eq!(config.sending.expires_after, Duration::from_hours(24));
    assert_eq!(config.http.connections_max, 10_000);
    assert_eq!(config.retention.stream, Duration::from_hours(72));
    assert_eq!(config.retention.parked, Duration::from_hours(192));
    assert_eq!(config.retention.idempotency, Duration::from_hours(24));
    assert!(config.channels.is_empty() && config.metrics_allow.is_empty());
    assert_eq!(warnings, [""; 0]);
}

#[test]
fn the_defaults_name_every_setting_and_its_variables_and_nothing_else() {
    let mut described: Vec<(String, Vec<String>)> = Vec::new();
    let mut section = String::new();
    let mut comment = String::new();
    for line in DEFAULTS.lines() {
        if let Some(text) = line.strip_prefix('#') {
            comment.push_str(text);
        } else if let Some(name) = line.strip_prefix('[') {
            section = format!("{}.", name.trim_end_matches(']'));
            comment.clear();
        } else if let Some((key, _)) = line.split_once(" = ") {
            let (_, names) = comment
                .rsplit_once("Variable")
                .unwrap_or_else(|| panic!("{key} names no variable"));
            let names = names.trim_start_matches('s').trim_start_matches(": ");
            described.push((
                format!("{section}{key}"),
                names.split(", ").map(str::to_owned).collect(),
            ));
            comment.clear();
        } else {
            comment.clear();
        }
    }
    described.sort();
    let mut known: Vec<(String, Vec<String>)> = SETTINGS
        .iter()
        .map(|setting| {
            (
                setting.key.to_owned(),
                setting.variables.iter().map(|name| (*name).to_owned()).collect(),
            )
        })
        .collect();
    known.sort();
    assert_eq!(described, known);
    for variable in super::settings::known_variables() {
        assert!(DEFAULTS.contains(variable), "{variable} is not described");
    }
}

#[test]
fn every_setting_is_read_and_shown_once() {
    let loaded = load(Sources::default());
    let mut shown: Vec<&str> = loaded.effective.iter().map(|setting| setting.key.as_str()).collect();
    shown.sort_unstable();
    let mut known: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
    known.sort_unstable();
    assert_eq!(shown, known);
}

// The order.

#[test]
fn each_source_goes_before_those_below_it() {
    let mut sources = file("[webhooks]\nbatch_size = 1\nretry_attempts = 1\nmax_queue = 1\nretry_delay_ms = 1");
    sources.env_file = variables(&[
        ("WEBHOOK_RETRY_ATTEMPTS", "2"),
        ("WEBHOOK_MAX_QUEUE", "2"),
        ("WEBHOOK_RETRY_DELAY", "2"),
    ]);
    sources.environment = variables(&[("WEBHOOK_MAX_QUEUE", "3"), ("WEBHOOK_RETRY_DELAY", "3")]);
    sources.overrides = variables(&[("WEBHOOK_RETRY_DELAY", "4")]);
    let loaded = load(sources);
    let webhooks = &loaded.config.webhooks;
    assert_eq!(webhooks.body_bytes_max, 3_145_728);
    assert_eq!(
        (webhooks.batch_size, webhooks.retry_attempts, webhooks.max_queue),
        (1, 2, 3)
    );
    assert_eq!(webhooks.retry_delay, Duration::from_millis(4));
    assert_eq!(shown(&loaded, "webhooks.body_bytes_max"), (Some("3145728"), "default"));
    assert_eq!(shown(&loaded, "webhooks.batch_size"), (Some("1"), "tidings.toml"));
    assert_eq!(
        shown(&loaded, "webhooks.retry_attempts"),
        (Some("2"), ".env: WEBHOOK_RETRY_ATTEMPTS")
    );
    assert_eq!(
        shown(&loaded, "webhooks.max_queue"),
        (Some("3"), "environment: WEBHOOK_MAX_QUEUE")
    );
    assert_eq!(
        shown(&loaded, "webhooks.retry_delay_ms"),
        (Some("4"), "command line: WEBHOOK_RETRY_DELAY")
    );
    assert_eq!(shown(&loaded, "public_url"), (None, "not set"));
}

#[test]
fn an_empty_value_is_none_wherever_it_stands() {
    let mut sources = file(
        "public_url = \"\"\nmetrics_allow = []\n[log]\nfilter = \"debug\"\n[webhooks.whatsapp]\napp_secrets = [\"\"]",
    );
    sources.env_file = variables(&[("TIDINGS_LOG", "")]);
    sources.environment = variables(&[
        ("TIDINGS_LOG", "  "),
        ("WHATSAPP_ACCESS_TOKEN", ""),
        ("WHATSAPP_APP_SECRET", ",, ,"),
    ]);
    sources.overrides = variables(&[("TIDINGS_LOG", ""), ("TIDINGS_LISTEN", "")]);
    let config = load(sources).config;
    assert_eq!(config.log.filter, "debug");
    assert_eq!(config.public_url, None);
    assert_eq!(exposed(&config.webhooks.whatsapp.app_secrets), [""; 0]);
    assert!(config.channels.is_empty());
}

#[test]
fn the_command_line_takes_variables_and_keys() {
    let overrides = variables(&[("webhooks.batch_size", "7"), ("TIDINGS_LISTEN", "[::1]:0")]);
    let config = load(Sources {
        overrides,
        ..Sources::default()
    })
    .config;
    assert_eq!(config.webhooks.batch_size, 7);
    assert_eq!(config.listen.to_string(), "[::1]:0");
}

#[test]
fn the_store_is_in_the_data_folder_unless_it_is_named() {
    let loaded = load(environment(&[("TIDINGS_DATA_DIR", "/var/lib/tidings")]));
    assert_eq!(
        loaded.config.database_url.expose_secret(),
        "sqlite:///var/lib/tidings/tidings.db"
    );
    assert_eq!(
        shown(&loaded, "database_url"),
        (Some("sqlite:///var/lib/tidings/tidings.db"), "default")
    );
    let named = load(environment(&[
        ("TIDINGS_DATA_DIR", "/a"),
        ("DATABASE_URL", "sqlite://b.db"),
    ]));
    assert_eq!(named.config.database_url.expose_secret(), "sqlite://b.db");
}

// Lists and aliases.

#[test]
fn secrets_and_verify_tokens_of_all_aliases_add_up() {
    let config = load(Sources {
        env_file: variables(&[("WHATSAPP_APP_SECRET", "unused"), ("META_VERIFY_TOKEN", "both")]),
        environment: variables(&[
            ("WHATSAPP_APP_SECRET", "w1, w2,"),
            ("INSTAGRAM_APP_SECRET", "i1"),
            ("INSTAGRAM_WEBHOOK_SECRET", "i2"),
            ("META_APP_SECRET", "m,w1"),
            ("WHATSAPP_VERIFY_TOKEN", "v1"),
            ("WEBHOOK_VERIFY_TOKEN", "v2"),
            ("INSTAGRAM_VERIFY_TOKEN", "v3"),
            ("INSTAGRAM_WEBHOOK_VERIFY_TOKEN", "v4"),
        ]),
        ..file("[webhooks.whatsapp]\napp_secrets = [\"from the file\"]")
    })
    .config;
    assert_eq!(exposed(&config.webhooks.whatsapp.app_secrets), ["w1", "w2", "m"]);
    assert_eq!(exposed(&config.webhooks.instagram.app_secrets), ["i1", "i2", "m", "w1"]);
    assert_eq!(exposed(&config.webhooks.whatsapp.verify_tokens), ["v1", "v2", "both"]);
    assert_eq!(exposed(&config.webhooks.instagram.verify_tokens), ["v3", "v4", "both"]);
}

#[test]
fn a_list_in_a_file_may_hold_commas() {
    let config = load(file(
        "metrics_allow = [\"10.0.0.7\", \"::1\"]\n[webhooks.whatsapp]\nverify_tokens = [\"a,b\", \"c\"]",
    ))
    .config;
    assert_eq!(exposed(&config.webhooks.whatsapp.verify_tokens), ["a,b", "c"]);
    assert_eq!(config.metrics_allow.len(), 2);
}

#[test]
fn values_are_read_as_people_write_them() {
    for (text, expected) in [
        ("true", true),
        ("1", true),
        ("YES", true),
        ("off", false),
        ("False", false),
        (" no ", false),
    ] {
        let config = load(environment(&[("WEBHOOK_SIGNATURE_REQUIRED", text)])).config;
        assert_eq!(config.webhooks.signature_required, expected, "{text}");
    }
    let config = load(environment(&[
        ("TIDINGS_PUBLIC_URL", "https://example.com/hub/"),
        ("TIDINGS_LOG_FORMAT", "json"),
    ]))
    .config;
    assert_eq!(config.public_url.as_deref(), Some("https://example.com/hub"));
    assert_eq!(config.log.format, LogFormat::Json);
}

// Channels.

#[test]
fn variables_make_channels() {
    let config = load(environment(&[
        ("WHATSAPP_PHONE_NUMBER_ID", "1001"),
        ("WHATSAPP_ACCESS_TOKEN", "EAAone"),
        ("WHATSAPP_BUSINESS_ACCOUNT_ID", "1000"),
        ("WHATSAPP_BACKUP_PHONE_NUMBER_ID", "1002"),
        ("WHATSAPP_BACKUP_ACCESS_TOKEN", "EAAtwo"),
        ("META_IG_BUSINESS_ID", "1784"),
        ("META_IG_ACCESS_TOKEN", "IGAA"),
        ("SMTP_FROM", "The Shop <shop@example.com>"),
        ("SMTP_URL", "smtps://shop:pw@smtp.example.com"),
    ]))
    .config;
    let backups: Vec<_> = config
        .channels
        .iter()
        .map(|channel| channel.backup_for.as_deref())
        .collect();
    assert_eq!(backups, [None, Some("whatsapp"), None, None]);
    let told: Vec<_> = config
        .channels
        .iter()
        .map(|channel| {
            let token = channel.credentials.as_ref().map(ExposeSecret::expose_secret);
            (
                channel.id.as_str(),
                channel.kind,
                channel.account.as_str(),
                channel.business_account.as_deref(),
                token,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("whatsapp", ChannelKind::WhatsApp, "1001", Some("1000"), Some("EAAone")),
            ("whatsapp-backup", ChannelKind::WhatsApp, "1002", None, Some("EAAtwo")),
            ("instagram", ChannelKind::Instagram, "1784", None, Some("IGAA")),
            (
                "email",
                ChannelKind::Email,
                "The Shop <shop@example.com>",
                None,
                Some("smtps://shop:pw@smtp.example.com")
            ),
        ]
    );
}

#[test]
fn an_email_sender_has_an_address_and_the_address_of_a_server() {
    is_refused(
        environment(&[("SMTP_URL", "smtp://localhost")]),
        "SMTP_URL (environment): belongs to an account that is not named; set SMTP_FROM to the e-mail address that it writes as, or leave out \
         SMTP_URL",
    );
    let from = ("SMTP_FROM", "shop@example.com");
    is_refused(
        environment(&[from, ("SMTP_URL", "https://example.com")]),
        "SMTP_URL (environment): the value is not an address such as smtps://USER:PASSWORD@smtp.example.com, with signs other than letters \
         and digits written as %40 and so on",
    );
    is_refused(
        environment(&[("SMTP_FROM", "shop")]),
        "SMTP_FROM (environment): \"shop\" is not an e-mail address, such as shop@example.com or The Shop <shop@example.com>",
    );
    is_refused(
        file("[[channels]]\nid = \"post\"\nplatform = \"email\"\naccount = \"a@b\"\naccess_token = \"x\"\n"),
        "channels, no. 1: access_token (tidings.toml): is not what a channel of the platform email has; it has smtp_url",
    );
    let loaded = load(environment(&[from, ("SMTP_URL", "smtps://shop:pw@smtp.example.com")]));
    let (shown, _) = shown(&loaded, "channels.email.smtp_url");
    assert!(shown.is_some_and(|url| !url.contains("pw")), "{shown:?}");
}

#[test]
fn a_master_key_is_64_hexadecimal_digits() {
    is_refused(
        environment(&[("TIDINGS_MASTER_KEY", "secret")]),
        "TIDINGS_MASTER_KEY (environment): the value is not a master key: 64 hexadecimal digits; `openssl rand -hex 32` makes one",
    );
    assert!(
        load(environment(&[("TIDINGS_MASTER_KEY", &"0f".repeat(32))]))
            .config
            .master_key
            .is_some()
    );
}

#[test]
fn a_channel_without_a_token_only_receives() {
    let config = load(environment(&[("META_IG_BUSINESS_ID", "1784")])).config;
    assert_eq!(config.channels.len(), 1);
    assert!(config.channels[0].credentials.is_none());
}

#[test]
fn the_file_adds_channels_and_variables_change_them() {
    let mut sources = file(
        "[[channels]]\nid = \"whatsapp\"\nplatform = \"whatsapp\"\naccount = \"1\"\naccess_token = \"old\"\n\
         [[channels]]\nid = \"shop-nl\"\nplatform = \"instagram\"\naccount = 2\n",
    );
    sources.environment = variables(&[
        ("WHATSAPP_ACCESS_TOKEN", "new"),
        ("WHATSAPP_BACKUP_PHONE_NUMBER_ID", "3"),
    ]);
    let loaded = load(sources);
    let told: Vec<_> = loaded
        .config
        .channels
        .iter()
        .map(|channel| (channel.id.as_str(), channel.account.as_str()))
        .collect();
    assert_eq!(told, [("whatsapp-backup", "3"), ("whatsapp", "1"), ("shop-nl", "2")]);
    let token = loaded.config.channels[1]
        .credentials
        .as_ref()
        .map(ExposeSecret::expose_secret);
    assert_eq!(token, Some("new"));
    assert_eq!(shown(&loaded, "channels.whatsapp.account"), (Some("1"), "tidings.toml"));
    assert_eq!(
        shown(&loaded, "channels.whatsapp.access_token"),
        (Some("********"), "environment: WHATSAPP_ACCESS_TOKEN")
    );
    assert_eq!(shown(&loaded, "channels.shop-nl.access_token"), (None, "not set"));
    assert_eq!(
        shown(&loaded, "channels.whatsapp-backup.platform"),
        (Some("whatsapp"), "environment: WHATSAPP_BACKUP_PHONE_NUMBER_ID")
    );
}

#[test]
fn a_token_without_an_account_is_refused() {
    is_refused(
        environment(&[("WHATSAPP_ACCESS_TOKEN", "EAAsecret")]),
        "WHATSAPP_ACCESS_TOKEN (environment): belongs to an account that is not named; set WHATSAPP_PHONE_NUMBER_ID to Meta's id of it, \
         or leave out WHATSAPP_ACCESS_TOKEN",
    );
    is_refused(
        Sources {
            env_file: variables(&[("META_IG_ACCESS_TOKEN", "IG")]),
            ..Sources::default()
        },
        "META_IG_ACCESS_TOKEN (.env): belongs to an account that is not named; set META_IG_BUSINESS_ID to Meta's id of it, or leave out \
         META_IG_ACCESS_TOKEN",
    );
}

#[test]
fn two_channels_with_one_account_are_refused() {
    is_refused(
        environment(&[
            ("WHATSAPP_PHONE_NUMBER_ID", "1"),
            ("WHATSAPP_BACKUP_PHONE_NUMBER_ID", "1"),
        ]),
        "WHATSAPP_BACKUP_PHONE_NUMBER_ID (environment): the channels \"whatsapp\" and \"whatsapp-backup\" have the same account; \
         WHATSAPP_PHONE_NUMBER_ID (environment) names it too: leave out one of them",
    );
    let mut sources = file("[[channels]]\nid = \"a\"\nplatform = \"instagram\"\naccount = \"1\"");
    sources.environment = variables(&[("META_IG_BUSINESS_ID", "1")]);
    is_refused(
        sources,
        "channels, no. 1: account (tidings.toml): the channels \"instagram\" and \"a\" have the same account; META_IG_BUSINESS_ID \
         (environment) names it too: leave out one of them",
    );
    // The same digits in another product are another account.
    load(environment(&[
        ("WHATSAPP_PHONE_NUMBER_ID", "1"),
        ("META_IG_BUSINESS_ID", "1"),
    ]));
}

#[test]
fn every_mistake_in_a_channel_is_told() {
    let sources = file(
        "[[channels]]\nplatform = \"whatsapp\"\n\
         [[channels]]\nid = \"Shop\"\n\
         [[channels]]\nid = \"a\"\nplatform = \"telegram\"\naccount = \"+31 6\"\nacces_token = \"SECRET\"\n\
         [[channels]]\nid = \"b\"\naccess_token = [\"SECRET\"]\n\
         [[channels]]\nid = \"b\"\n\
         [[channels]]\nid = \"c\"\nplatform = \"instagram\"\naccount = \"7\"\nbusiness_account = \"8\"\n",
    );
    let told = mistakes(sources);
    let expected = [
        "channels, no. 1 (tidings.toml): has no id; add one, such as id = \"whatsapp-nl\"",
        "channels, no. 2: id (tidings.toml): \"Shop\" is not an id of a channel: up to 64 small letters, digits and hyphens, such as whatsapp-nl",
        "channels, no. 3: acces_token (tidings.toml): a channel has no such setting; did you mean access_token?",
        "channels, no. 5 (tidings.toml): another channel has the id \"b\" already; each needs one of its own",
        "channels, no. 3: platform (tidings.toml): \"telegram\" is not \"whatsapp\", \"instagram\" or \"email\"",
        "channels, no. 3: account (tidings.toml): \"+31 6\" is not an id of Meta's: digits alone (of a phone number it is the id that is \
         meant, not the number)",
        "channels, no. 4 (tidings.toml): has no platform; add it, such as platform = \"whatsapp\"",
        "channels, no. 4 (tidings.toml): has no account; add it, such as account = \"106540352242922\"",
        "channels, no. 4: access_token (tidings.toml): is one value, not a list",
        "channels, no. 6: business_account (tidings.toml): only a WhatsApp channel has a business account; leave it out",
    ];
    assert_eq!(told, expected);
    assert!(!told.join("\n").contains("SECRET"));
    is_refused(
        file("channels = 3"),
        "channels (tidings.toml): is a list: begin each channel with a line [[channels]]",
    );
    is_refused(
        file("channels = [3]"),
        "channels, no. 1 (tidings.toml): begin each channel with a line [[channels]]",
    );
}

// Mistakes.

#[test]
fn a_wrong_value_is_told_with_what_would_be_right() {
    let number = "is not a number from 1 to 1000";
    for (name, value, told) in [
        ("WEBHOOK_BATCH_SIZE", "many", number),
        ("WEBHOOK_BATCH_SIZE", "0", number),
        ("WEBHOOK_BATCH_SIZE", "1001", number),
        ("WEBHOOK_BATCH_SIZE", "-1", number),
        ("WEBHOOK_BATCH_SIZE", "1.5", number),
        ("WEBHOOK_BATCH_SIZE", "99999999999999999999999", number),
        ("WEBHOOK_RETRY_ATTEMPTS", "101", "is not a number from 0 to 100"),
        (
            "WEBHOOK_RETRY_DELAY",
            "5s",
            "is not a number from 1 to 3600000 (milliseconds)",
        ),
        (
            "TIDINGS_HTTP_BODY_TIMEOUT_SECS",
            "0",
            "is not a number from 1 to 600 (seconds)",
        ),
        (
            "TIDINGS_RETENTION_STREAM_HOURS",
            "18446744073709551615",
            "is not a number from 1 to 87840 (hours)",
        ),
        ("WEBHOOK_SIGNATURE_REQUIRED", "maybe", "is not true or false"),
        (
            "TIDINGS_LISTEN",
            "localhost",
            "is not an IP address with a port, such as 127.0.0.1:8080",
        ),
        (
            "TIDINGS_LISTEN",
            "127.0.0.1:99999",
            "is not an IP address with a port, such as 127.0.0.1:8080",
        ),
        (
            "TIDINGS_METRICS_ALLOW",
            "10.0.0.0/8",
            "is not an IP address, such as 10.0.0.7",
        ),
        (
            "TIDINGS_LOG",
            "tidings=loud",
            "is not a filter of the log, such as info or info,tidings::sending=debug",
        ),
        ("TIDINGS_LOG_FORMAT", "xml", "is not \"pretty\" or \"json\""),
        (
            "META_GRAPH_API_VERSION",
            "26",
            "is not a version of Meta's interface, such as v26.0",
        ),
        (
            "META_APP_ID",
            "app",
            "is not an id of Meta's: digits alone (of a phone number it is the id that is meant, not the number)",
        ),
    ] {
        is_refused(
            environment(&[(name, value)]),
            &format!("{name} (environment): \"{value}\" {told}"),
        );
    }
}

#[test]
fn a_wrong_address_is_told_without_the_password_in_it() {
    let url = "is not a URL of the form https://host, without user, query or fragment";
    for (name, value, shown) in [
        ("WHATSAPP_API_BASE_URL", "graph.facebook.com", "********"),
        ("WHATSAPP_API_BASE_URL", "ftp://host", "ftp://host/"),
        (
            "META_GRAPH_API_BASE_URL",
            "https://me:PASSWORD@host/",
            "https://me:********@host/",
        ),
        ("TIDINGS_PUBLIC_URL", "https://host/?key=PASSWORD", "https://host/"),
    ] {
        is_refused(
            environment(&[(name, value)]),
            &format!("{name} (environment): \"{shown}\" {url}"),
        );
    }
    for value in [
        "mysql://me:PASSWORD@host/db",
        "postgres:me:PASSWORD",
        "PASSWORD",
        "sqlite://",
        "sqlite:?mode=PASSWORD",
    ] {
        let told = mistakes(environment(&[("DATABASE_URL", value)]));
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("is not the address of a store: "), "{}", told[0]);
        assert!(!told[0].contains("me:PASSWORD"), "{}", told[0]);
    }
}

#[test]
fn an_admin_key_that_could_be_guessed_is_refused_unquoted() {
    is_refused(
        environment(&[("TIDINGS_ADMIN_KEY", "hunter2")]),
        "TIDINGS_ADMIN_KEY (environment): the value has fewer than 16 characters and could be guessed; `openssl rand -hex 32` makes one",
    );
    is_refused(
        environment(&[("TIDINGS_ADMIN_KEY", "ünïcödé ünïcödé ünïcödé")]),
        "TIDINGS_ADMIN_KEY (environment): the value may only have letters, digits and signs of ASCII: it travels in an HTTP header",
    );
}

#[test]
fn an_unknown_key_is_told_with_the_one_that_was_meant() {
    for (text, told) in [
        (
            "lisen = \"x\"",
            "lisen (tidings.toml): there is no such setting; did you mean listen?",
        ),
        (
            "[webhook]\nbatch_size = 1",
            "webhook.batch_size (tidings.toml): there is no such setting; did you mean webhooks.batch_size?",
        ),
        (
            "[webhooks.whatsapp]\nsecrets = 1",
            "webhooks.whatsapp.secrets (tidings.toml): there is no such setting; did you mean webhooks.whatsapp.app_secrets?",
        ),
        ("colour = 1", "colour (tidings.toml): there is no such setting"),
        (
            "webhooks = 1",
            "webhooks (tidings.toml): is a section: write its settings below a line [webhooks]",
        ),
        (
            "[listen]\nport = 1",
            "listen (tidings.toml): has to be a value, not a section",
        ),
        (
            "listen = [\"127.0.0.1:1\"]",
            "listen (tidings.toml): is one value, not a list",
        ),
        (
            "metrics_allow = [[1]]",
            "metrics_allow (tidings.toml): a list may have texts and numbers in it, nothing else",
        ),
    ] {
        is_refused(file(text), told);
    }
    is_refused(
        Sources {
            overrides: variables(&[("WEBHOOK_BATCHSIZE", "1")]),
            ..Sources::default()
        },
        "WEBHOOK_BATCHSIZE (command line): there is no such setting; did you mean WEBHOOK_BATCH_SIZE?",
    );
}

#[test]
fn a_file_that_is_not_toml_is_told_by_its_line_alone() {
    let told = mistakes(file("listen = \"127.0.0.1:1\"\nadmin_key = PLANTED\n"));
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("tidings.toml: line 2 is not TOML: "), "{}", told[0]);
    assert!(!told[0].contains("PLANTED"), "{}", told[0]);
}

#[test]
fn two_names_of_one_setting_that_differ_are_refused() {
    let both = |value: &str| Sources {
        overrides: variables(&[("WEBHOOK_BATCH_SIZE", "1"), ("webhooks.batch_size", value)]),
        ..Sources::default()
    };
    is_refused(
        both("2"),
        "WEBHOOK_BATCH_SIZE (command line): webhooks.batch_size says otherwise; leave out one of them",
    );
    assert_eq!(load(both("1")).config.webhooks.batch_size, 1);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let mut sources = file("lisen = 1\n[webhooks]\nretry_attempts = \"some\"");
    sources.env_file = variables(&[("WEBHOOK_MAX_QUEUE", "0")]);
    sources.environment = variables(&[("WEBHOOK_BATCH_SIZE", "many"), ("WHATSAPP_ACCESS_TOKEN", "PLANTED")]);
    sources.overrides = variables(&[("TIDINGS_LISTEN", "here")]);
    let errors = Config::load(sources).unwrap_err();
    let told = errors.to_string();
    assert!(
        told.starts_with("the settings have 6 mistakes:\n  lisen (tidings.toml): "),
        "{told}"
    );
    for part in [
        "\n  TIDINGS_LISTEN (command line): \"here\" ",
        "\n  webhooks.retry_attempts (tidings.toml): \"some\" ",
        "\n  WEBHOOK_MAX_QUEUE (.env): \"0\" ",
        "\n  WEBHOOK_BATCH_SIZE (environment): \"many\" ",
        "\n  WHATSAPP_ACCESS_TOKEN (environment): ",
    ] {
        assert!(told.contains(part), "{part} is missing in:\n{told}");
    }
    assert!(!told.contains("PLANTED"));
}

#[test]
fn a_long_wrong_value_is_not_quoted_whole() {
    let told = mistakes(environment(&[("TIDINGS_LISTEN", &"ß".repeat(5000))]));
    assert!(told[0].len() < 400, "{}", told[0]);
}

// Warnings.

#[test]
fn what_is_most_likely_not_meant_is_warned_of() {
    for (list, told) in [
        (
            &[("WEBHOOK_BATCHSIZE", "1")][..],
            "WEBHOOK_BATCHSIZE (environment) is not known and has no effect; did you mean WEBHOOK_BATCH_SIZE?",
        ),
        (
            &[("TIDINGS_COLOUR", "red")],
            "TIDINGS_COLOUR (environment) is not known and has no effect",
        ),
        (
            &[("WEBHOOK_ENABLE_MTLS", "true")],
            "WEBHOOK_ENABLE_MTLS (environment) is not known and has no effect",
        ),
        (
            &[("WEBHOOK_SIGNATURE_REQUIRED", "false")],
            "WEBHOOK_SIGNATURE_REQUIRED is false: anyone who reaches this hub can post events; set it to true in production",
        ),
        (
            &[("WHATSAPP_PHONE_NUMBER_ID", "1"), ("WHATSAPP_VERIFY_TOKEN", "v")],
            "no app secret for WhatsApp: every notification is refused; set WHATSAPP_APP_SECRET to the secret of the app at Meta",
        ),
        (
            &[("META_IG_BUSINESS_ID", "1"), ("META_APP_SECRET", "s")],
            "no verify token for Instagram: Meta cannot be told to call here; set INSTAGRAM_VERIFY_TOKEN to a word of your own",
        ),
        (
            &[("WHATSAPP_API_BASE_URL", "http://sandbox:9090")],
            "WHATSAPP_API_BASE_URL is not https: access tokens can be read on the way; use https beyond this machine",
        ),
        (
            &[("TIDINGS_PUBLIC_URL", "http://example.com")],
            "TIDINGS_PUBLIC_URL is not https: Meta does not call it; put a proxy with a certificate before the hub",
        ),
    ] {
        assert_eq!(load(environment(list)).warnings, [told]);
    }
}

#[test]
fn names_of_others_are_not_warned_of() {
    let list = [
        ("TIDINGS_URL", "x"),
        ("TIDINGS_TEST_POSTGRES_URL", "x"),
        ("WHATSAPP_COLOUR", "x"),
        ("PATH", "x"),
        ("WHATSAPP_API_BASE_URL", "http://127.0.0.1:9090"),
        ("META_GRAPH_API_BASE_URL", "http://[::1]:9090"),
        ("TIDINGS_PUBLIC_URL", "http://localhost:8080"),
    ];
    assert_eq!(load(environment(&list)).warnings, [""; 0]);
}

// Secrets.

#[test]
fn no_secret_is_shown() {
    let mut secrets = Vec::new();
    let mut list = vec![("DATABASE_URL", "postgres://me:PLANTED@host/db?password=PLANTED")];
    for name in [
        "TIDINGS_ADMIN_KEY",
        "WHATSAPP_APP_SECRET",
        "META_APP_SECRET",
        "INSTAGRAM_APP_SECRET",
        "INSTAGRAM_WEBHOOK_SECRET",
        "WHATSAPP_VERIFY_TOKEN",
        "WEBHOOK_VERIFY_TOKEN",
        "INSTAGRAM_VERIFY_TOKEN",
        "META_VERIFY_TOKEN",
        "WHATSAPP_ACCESS_TOKEN",
        "WHATSAPP_BACKUP_ACCESS_TOKEN",
        "META_IG_ACCESS_TOKEN",
    ] {
        secrets.push((name, format!("PLANTED-{name},PLANTED-2")));
    }
    list.extend(secrets.iter().map(|(name, value)| (*name, value.as_str())));
    list.extend([
        ("WHATSAPP_PHONE_NUMBER_ID", "1"),
        ("WHATSAPP_BACKUP_PHONE_NUMBER_ID", "2"),
        ("META_IG_BUSINESS_ID", "3"),
    ]);
    let loaded = load(environment(&list));
    let debug = format!("{loaded:?} {loaded:#?}");
    assert!(!debug.contains("PLANTED"), "{debug}");
    assert_eq!(shown(&loaded, "database_url").0, Some("postgres://me:********@host/db"));
    let (secrets, source) = shown(&loaded, "webhooks.whatsapp.app_secrets");
    assert_eq!(secrets, Some("********, ********, ********, ********"));
    assert_eq!(source, "environment: WHATSAPP_APP_SECRET, environment: META_APP_SECRET");
    assert_eq!(
        shown(&loaded, "admin_key"),
        (Some("********, ********"), "environment: TIDINGS_ADMIN_KEY")
    );
}

// The pace.

#[test]
fn a_channel_has_its_own_pace_where_it_names_one() {
    let loaded = load(file(
        "[sending.whatsapp]\nmessages_per_second = 1000\n[[channels]]\nid = \"shop\"\nplatform = \"whatsapp\"\n\
         account = \"200000000000001\"\nmessages_per_second = 20\npair_pause_secs = 0\n",
    ));
    let sending = &loaded.config.sending;
    let pace = loaded.config.channels[0].pace.over(sending.pace(Platform::WhatsApp));
    assert_eq!(
        (pace.per_second, pace.pair_pause, pace.pair_burst),
        (20, Duration::ZERO, 45)
    );
    assert_eq!(sending.pace(Platform::WhatsApp).per_second, 1_000);
    assert_eq!(shown(&loaded, "channels.shop.messages_per_second").0, Some("20"));
    assert!(
        !loaded
            .effective
            .iter()
            .any(|setting| setting.key == "channels.shop.messages_per_day"),
        "what it does not name is shown where its platform names it"
    );
}

// Routes.

#[test]
fn a_policy_has_a_name_an_order_and_what_it_says_of_the_rest() {
    let text = r#"
[[routes]]
name = "default"
order = ["whatsapp-nl", "email"]
fallback_after_secs = 60
told = ""

[[routes]]
name = "slow"
order = ["whatsapp"]
success_status = "read"
subject = "News"
"#;
    let policies = load(file(text)).config.routes;
    let [first, second] = &policies[..] else {
        panic!("two policies: {policies:?}")
    };
    let order = |words: &[&str]| RouteOrder::Named(words.iter().map(|word| (*word).to_owned()).collect());
    assert_eq!(first.order, order(&["whatsapp-nl", "email"]));
    assert_eq!(
        (first.fallback_after, &first.told, first.success),
        (Some(Duration::from_mins(1)), &None, Success::Delivered)
    );
    assert_eq!(second.order, order(&["whatsapp"]));
    assert_eq!((second.fallback_after, second.success), (None, Success::Read));
    assert_eq!(
        (second.told.as_deref(), second.subject.as_deref()),
        (Some(TOLD), Some("News"))
    );
}

#[test]
fn every_mistake_in_a_policy_is_told() {
    for (lines, told) in [
        (
            "name = \"none\"\norder = [\"email\"]",
            "name (tidings.toml): stands in a request for no policy: call it something else",
        ),
        (
            "name = \"The usual\"\norder = [\"email\"]",
            "name (tidings.toml): is small letters, digits and hyphens, such as \"default\"",
        ),
        (
            "name = \"default\"\norder = []",
            "order (tidings.toml): is a list of 1 to 10 ids or kinds of channels, such as [\"whatsapp\", \"email\"]",
        ),
        (
            "name = \"default\"\norder = [\"email\"]\nsuccess_status = \"seen\"",
            "success_status (tidings.toml): is not \"accepted\", \"sent\", \"delivered\" or \"read\"",
        ),
        (
            "name = \"default\"\norder = [\"email\"]\nfallback_after_secs = 0",
            "fallback_after_secs (tidings.toml): is a number from 1 to 2592000",
        ),
        (
            "name = \"default\"\norder = [\"email\"]\nsubject = \" \"",
            "subject (tidings.toml): is a line of 1 to 200 characters",
        ),
    ] {
        is_refused(
            file(&format!("[[routes]]\n{lines}\n")),
            &format!("routes, no. 1: {told}"),
        );
    }
    let twice = "[[routes]]\nname = \"a\"\norder = [\"email\"]\n".repeat(2);
    is_refused(
        file(&twice),
        "routes, no. 2: name (tidings.toml): another policy is called \"a\" already",
    );
}
