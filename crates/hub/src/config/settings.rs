//! The table of settings: what each is called in a file, and by which variables.
//!
//! Defaults and descriptions are in `tidings.default.toml`, and nowhere else; a test holds both against each other.

/// One setting. A channel's settings are in [`channels`](super::channels).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Setting {
    /// Its name in `tidings.toml`, with the sections before it: `webhooks.batch_size`.
    pub(super) key: &'static str,
    /// The variables that set it. The first is the one that we name.
    pub(super) variables: &'static [&'static str],
    /// What of its value people are shown.
    pub(super) show: Show,
}

/// What of a value people are shown, in errors as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    /// All of it.
    Plain,
    /// An address without the password that may stand in it.
    Address,
    /// Nothing.
    Masked,
}

const fn plain(key: &'static str, variables: &'static [&'static str]) -> Setting {
    Setting {
        key,
        variables,
        show: Show::Plain,
    }
}

const fn address(key: &'static str, variables: &'static [&'static str]) -> Setting {
    Setting {
        key,
        variables,
        show: Show::Address,
    }
}

const fn secret(key: &'static str, variables: &'static [&'static str]) -> Setting {
    Setting {
        key,
        variables,
        show: Show::Masked,
    }
}

/// All settings but those of channels, in the order in which they are shown.
pub(super) const SETTINGS: &[Setting] = &[
    plain("listen", &["TIDINGS_LISTEN"]),
    plain("data_dir", &["TIDINGS_DATA_DIR"]),
    address("database_url", &["DATABASE_URL"]),
    plain("database_ca_cert_path", &["DATABASE_CA_CERT_PATH"]),
    address("public_url", &["TIDINGS_PUBLIC_URL"]),
    secret("admin_key", &["TIDINGS_ADMIN_KEY"]),
    secret("master_key", &["TIDINGS_MASTER_KEY"]),
    plain("meta_app_id", &["META_APP_ID"]),
    plain("instagram_app_id", &["INSTAGRAM_APP_ID"]),
    plain("metrics_allow", &["TIDINGS_METRICS_ALLOW"]),
    plain("log.filter", &["TIDINGS_LOG"]),
    plain("log.format", &["TIDINGS_LOG_FORMAT"]),
    plain("webhooks.signature_required", &["WEBHOOK_SIGNATURE_REQUIRED"]),
    plain("webhooks.batch_size", &["WEBHOOK_BATCH_SIZE"]),
    plain("webhooks.retry_attempts", &["WEBHOOK_RETRY_ATTEMPTS"]),
    plain("webhooks.retry_delay_ms", &["WEBHOOK_RETRY_DELAY"]),
    plain("webhooks.max_queue", &["WEBHOOK_MAX_QUEUE"]),
    plain("webhooks.answer_within_ms", &["WEBHOOK_ANSWER_WITHIN_MS"]),
    plain("webhooks.body_bytes_max", &["WEBHOOK_BODY_BYTES_MAX"]),
    secret(
        "webhooks.whatsapp.app_secrets",
        &["WHATSAPP_APP_SECRET", "META_APP_SECRET"],
    ),
    secret(
        "webhooks.whatsapp.verify_tokens",
        &["WHATSAPP_VERIFY_TOKEN", "WEBHOOK_VERIFY_TOKEN", "META_VERIFY_TOKEN"],
    ),
    secret(
        "webhooks.instagram.app_secrets",
        &["INSTAGRAM_APP_SECRET", "INSTAGRAM_WEBHOOK_SECRET", "META_APP_SECRET"],
    ),
    secret(
        "webhooks.instagram.verify_tokens",
        &[
            "INSTAGRAM_VERIFY_TOKEN",
            "INSTAGRAM_WEBHOOK_VERIFY_TOKEN",
            "META_VERIFY_TOKEN",
        ],
    ),
    address("graph.whatsapp_base_url", &["WHATSAPP_API_BASE_URL"]),
    address("graph.instagram_base_url", &["META_GRAPH_API_BASE_URL"]),
    plain("graph.version", &["META_GRAPH_API_VERSION"]),
    plain("graph.request_timeout_ms", &["WHATSAPP_REQUEST_TIMEOUT_MS"]),
    plain("graph.connect_timeout_ms", &["TIDINGS_GRAPH_CONNECT_TIMEOUT_MS"]),
    plain("templates.sync_secs", &["TIDINGS_TEMPLATES_SYNC_SECS"]),
    plain("consent.opt_out.en", &["TIDINGS_OPT_OUT_EN"]),
    plain("consent.opt_out.nl", &["TIDINGS_OPT_OUT_NL"]),
    plain("consent.opt_out.de", &["TIDINGS_OPT_OUT_DE"]),
    plain("consent.opt_out.fr", &["TIDINGS_OPT_OUT_FR"]),
    plain("consent.opt_out.es", &["TIDINGS_OPT_OUT_ES"]),
    plain("consent.opt_out.pt", &["TIDINGS_OPT_OUT_PT"]),
    plain("consent.opt_out.other", &["TIDINGS_OPT_OUT_OTHER"]),
    plain("consent.opt_in.en", &["TIDINGS_OPT_IN_EN"]),
    plain("consent.opt_in.nl", &["TIDINGS_OPT_IN_NL"]),
    plain("consent.opt_in.de", &["TIDINGS_OPT_IN_DE"]),
    plain("consent.opt_in.fr", &["TIDINGS_OPT_IN_FR"]),
    plain("consent.opt_in.es", &["TIDINGS_OPT_IN_ES"]),
    plain("consent.opt_in.pt", &["TIDINGS_OPT_IN_PT"]),
    plain("consent.opt_in.other", &["TIDINGS_OPT_IN_OTHER"]),
    secret("integrations.whatsapp.secrets", &["WHATSAPP_INTEGRATION_SECRETS"]),
    plain(
        "integrations.whatsapp.tolerance_secs",
        &["WHATSAPP_INTEGRATION_TOLERANCE_S"],
    ),
    plain("integrations.whatsapp.booking_template", &["WHATSAPP_BOOKING_TEMPLATE"]),
    plain("integrations.whatsapp.language", &["WHATSAPP_DEFAULT_LANGUAGE"]),
    plain("sending.parallel", &["TIDINGS_SENDING_PARALLEL"]),
    plain("sending.parallel_total", &["TIDINGS_SENDING_PARALLEL_TOTAL"]),
    plain("sending.lease_ms", &["TIDINGS_SENDING_LEASE_MS"]),
    plain("sending.unknown_after_secs", &["TIDINGS_SENDING_UNKNOWN_AFTER_SECS"]),
    plain("sending.expires_after_secs", &["TIDINGS_SENDING_EXPIRES_AFTER_SECS"]),
    plain(
        "sending.circuit_failure_percent",
        &["TIDINGS_SENDING_CIRCUIT_FAILURE_PERCENT"],
    ),
    plain("sending.circuit_window_secs", &["TIDINGS_SENDING_CIRCUIT_WINDOW_SECS"]),
    plain("sending.circuit_calls_min", &["TIDINGS_SENDING_CIRCUIT_CALLS_MIN"]),
    plain("sending.circuit_pause_secs", &["TIDINGS_SENDING_CIRCUIT_PAUSE_SECS"]),
    plain(
        "sending.whatsapp.messages_per_second",
        &["TIDINGS_SENDING_WHATSAPP_MESSAGES_PER_SECOND"],
    ),
    plain(
        "sending.whatsapp.pair_pause_secs",
        &["TIDINGS_SENDING_WHATSAPP_PAIR_PAUSE_SECS"],
    ),
    plain("sending.whatsapp.pair_burst", &["TIDINGS_SENDING_WHATSAPP_PAIR_BURST"]),
    plain(
        "sending.whatsapp.messages_per_day",
        &["TIDINGS_SENDING_WHATSAPP_MESSAGES_PER_DAY"],
    ),
    plain(
        "sending.whatsapp.contacts_per_day",
        &["TIDINGS_SENDING_WHATSAPP_CONTACTS_PER_DAY"],
    ),
    plain(
        "sending.whatsapp.messages_per_contact_hour",
        &["TIDINGS_SENDING_WHATSAPP_MESSAGES_PER_CONTACT_HOUR"],
    ),
    plain(
        "sending.whatsapp.messages_per_hour",
        &["TIDINGS_SENDING_WHATSAPP_MESSAGES_PER_HOUR"],
    ),
    plain(
        "sending.instagram.messages_per_second",
        &["TIDINGS_SENDING_INSTAGRAM_MESSAGES_PER_SECOND"],
    ),
    plain(
        "sending.instagram.pair_pause_secs",
        &["TIDINGS_SENDING_INSTAGRAM_PAIR_PAUSE_SECS"],
    ),
    plain(
        "sending.instagram.pair_burst",
        &["TIDINGS_SENDING_INSTAGRAM_PAIR_BURST"],
    ),
    plain(
        "sending.instagram.messages_per_day",
        &["TIDINGS_SENDING_INSTAGRAM_MESSAGES_PER_DAY"],
    ),
    plain(
        "sending.instagram.contacts_per_day",
        &["TIDINGS_SENDING_INSTAGRAM_CONTACTS_PER_DAY"],
    ),
    plain(
        "sending.instagram.messages_per_contact_hour",
        &["TIDINGS_SENDING_INSTAGRAM_MESSAGES_PER_CONTACT_HOUR"],
    ),
    plain(
        "sending.instagram.messages_per_hour",
        &["TIDINGS_SENDING_INSTAGRAM_MESSAGES_PER_HOUR"],
    ),
    plain(
        "sending.instagram.private_replies_per_hour",
        &["TIDINGS_SENDING_INSTAGRAM_PRIVATE_REPLIES_PER_HOUR"],
    ),
    plain("media.dir", &["MEDIA_DIR"]),
    plain("media.bytes_max", &["MEDIA_BYTES_MAX"]),
    plain("media.downloads_parallel", &["MEDIA_DOWNLOADS_PARALLEL"]),
    plain("media.uploads_parallel", &["MEDIA_UPLOADS_PARALLEL"]),
    plain("media.intakes_parallel", &["MEDIA_INTAKES_PARALLEL"]),
    plain("media.link_secs", &["MEDIA_LINK_SECS"]),
    plain("media.unused_hours", &["MEDIA_UNUSED_HOURS"]),
    plain("media.s3.bucket", &["MEDIA_S3_BUCKET"]),
    address("media.s3.endpoint", &["MEDIA_S3_ENDPOINT"]),
    plain("media.s3.region", &["MEDIA_S3_REGION"]),
    plain("media.s3.prefix", &["MEDIA_S3_PREFIX"]),
    plain("media.s3.access_key_id", &["MEDIA_S3_ACCESS_KEY_ID"]),
    secret("media.s3.secret_access_key", &["MEDIA_S3_SECRET_ACCESS_KEY"]),
    plain("http.connections_max", &["TIDINGS_HTTP_CONNECTIONS_MAX"]),
    plain("http.header_timeout_secs", &["TIDINGS_HTTP_HEADER_TIMEOUT_SECS"]),
    plain("http.body_timeout_secs", &["TIDINGS_HTTP_BODY_TIMEOUT_SECS"]),
    plain("integrations.allowed_origins", &["INTEGRATIONS_ALLOWED_ORIGINS"]),
    plain("reels.cache_ttl_secs", &["META_IG_REELS_CACHE_TTL"]),
    plain("reels.request_timeout_ms", &["META_IG_REQUEST_TIMEOUT_MS"]),
    plain("reels.store_media", &["REELS_STORE_MEDIA"]),
    plain("reels.media_megabytes_max", &["REELS_MEDIA_MEGABYTES_MAX"]),
    plain("reels.media_watch_secs", &["INSTAGRAM_MEDIA_WATCH_SECS"]),
    plain("retention.stream_hours", &["TIDINGS_RETENTION_STREAM_HOURS"]),
    plain("retention.quarantined_max", &["TIDINGS_RETENTION_QUARANTINED_MAX"]),
    plain("retention.parked_hours", &["TIDINGS_RETENTION_PARKED_HOURS"]),
    plain("retention.idempotency_hours", &["TIDINGS_RETENTION_IDEMPOTENCY_HOURS"]),
    plain("retention.attempts_hours", &["TIDINGS_RETENTION_ATTEMPTS_HOURS"]),
];

/// The setting of that name in the file.
pub(super) fn by_key(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// Whether a variable sets something, a channel's settings included.
pub(super) fn is_known_variable(name: &str) -> bool {
    known_variables().any(|known| known == name)
}

/// Every variable that sets something.
pub(super) fn known_variables() -> impl Iterator<Item = &'static str> {
    let channels = super::channels::FROM_VARIABLES
        .iter()
        .flat_map(super::channels::FromVariables::names);
    SETTINGS
        .iter()
        .flat_map(|setting| setting.variables.iter().copied())
        .chain(channels)
}
