//! Counters and gauges, in the words of Prometheus.
//!
//! Every counter exists with value 0 from the start, so that `rate()` and alerts work; label values are bounded: channels, kinds and codes
//! that are known, never anything that a caller wrote.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tidings_meta::notification::{EventKind, Platform};

use crate::channels::Channels;
use crate::channels::model::Quality;
use crate::conversations::model::ChannelId;
use crate::ingest::model::{EventStatus, NewEvent, StoredEvent};
use crate::sending::model::EntryState;

pub use exposition::Exposition;

mod exposition;

/// What became of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotificationResult {
    /// Kept.
    Accepted,
    /// Everything in it was known.
    Duplicate,
    /// Not signed as it should be.
    InvalidSignature,
    /// Not what Meta sends.
    InvalidPayload,
    /// Not kept for want of room, time or settings.
    Unavailable,
}

impl NotificationResult {
    const ALL: [Self; 5] = [
        Self::Accepted,
        Self::Duplicate,
        Self::InvalidSignature,
        Self::InvalidPayload,
        Self::Unavailable,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::InvalidSignature => "invalid_signature",
            Self::InvalidPayload => "invalid_payload",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Which way a file goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// From Meta.
    Download,
    /// To Meta.
    Upload,
}

impl Transfer {
    const ALL: [Self; 2] = [Self::Download, Self::Upload];

    fn as_str(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Upload => "upload",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TransferLabels {
    direction: &'static str,
    result: &'static str,
}

impl TransferLabels {
    fn new(direction: Transfer, succeeded: bool) -> Self {
        Self {
            direction: direction.as_str(),
            result: if succeeded { "success" } else { "error" },
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NotificationLabels {
    channel: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabels {
    channel: &'static str,
    kind: &'static str,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TypeLabel {
    r#type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    status: &'static str,
    endpoint: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    code: String,
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SentLabels {
    status: &'static str,
    r#type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabels {
    channel: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChannelLabel {
    channel: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QualityLabels {
    channel: String,
    quality: &'static str,
}

impl QualityLabels {
    fn new(channel: &ChannelId, quality: Quality) -> Self {
        Self {
            channel: channel.0.clone(),
            quality: quality.as_str(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TemplateLabel {
    status: &'static str,
}

/// What a template's status is counted as; any other word is the last one, since Meta's list is open.
const TEMPLATE_STATUSES: [&str; 7] = [
    "approved", "pending", "rejected", "paused", "disabled", "deleted", "other",
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabel {
    cache: &'static str,
}

/// The four counters that the runbook knows, for one product.
#[derive(Debug, Clone)]
struct PlatformCounters {
    api_calls: Family<CallLabels, Counter>,
    api_errors: Family<ErrorLabels, Counter>,
    received: Family<TypeLabel, Counter>,
    sent: Family<SentLabels, Counter>,
}

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    whatsapp: PlatformCounters,
    instagram: PlatformCounters,
    notifications: Family<NotificationLabels, Counter>,
    events: Family<EventLabels, Counter>,
    acknowledgement: Histogram,
    processing: Histogram,
    send: Histogram,
    queue_wait: Histogram,
    queue_length: Family<QueueLabels, Gauge>,
    events_waiting: Gauge,
    oldest_event_waiting: Gauge<f64, AtomicU64>,
    last_event: Family<ChannelLabel, Gauge<f64, AtomicU64>>,
    ingest_lag: Family<ChannelLabel, Gauge<f64, AtomicU64>>,
    channel_missed: Family<ChannelLabel, Gauge<f64, AtomicU64>>,
    channel_silent: Family<ChannelLabel, Gauge>,
    channel_late: Family<ChannelLabel, Gauge>,
    channel_up: Family<ChannelLabel, Gauge>,
    circuit_open: Family<ChannelLabel, Gauge>,
    channel_quality: Family<QualityLabels, Gauge>,
    stream_subscribers: Gauge,
    task_restarts: Counter,
    late_deliveries: Counter,
    template_changes: Family<TemplateLabel, Counter>,
    transfers: Family<TransferLabels, Counter>,
    feed: Family<CacheLabel, Counter>,
}

/// From 100 µs to about 13 s, doubling.
fn seconds() -> Histogram {
    Histogram::new((0..18).map(|step| 0.000_1 * f64::from(1 << step)))
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at 0.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let whatsapp = PlatformCounters::register(&mut registry, Platform::WhatsApp);
        let instagram = PlatformCounters::register(&mut registry, Platform::Instagram);
        let metrics = Self {
            whatsapp,
            instagram,
            notifications: Family::default(),
            events: Family::default(),
            acknowledgement: seconds(),
            processing: seconds(),
            send: seconds(),
            queue_wait: seconds(),
            queue_length: Family::default(),
            events_waiting: Gauge::default(),
            oldest_event_waiting: Gauge::default(),
            last_event: Family::default(),
            ingest_lag: Family::default(),
            channel_missed: Family::default(),
            channel_silent: Family::default(),
            channel_late: Family::default(),
            channel_up: Family::default(),
            circuit_open: Family::default(),
            channel_quality: Family::default(),
            stream_subscribers: Gauge::default(),
            task_restarts: Counter::default(),
            late_deliveries: Counter::default(),
            template_changes: Family::default(),
            transfers: Family::default(),
            feed: Family::default(),
            registry: Registry::default(),
        };
        registry.register(
            "tidings_late_deliveries",
            "Messages that a route delivered after another one had taken over",
            metrics.late_deliveries.clone(),
        );
        registry.register(
            "tidings_template_changes",
            "Message templates whose status at Meta has changed, by what it is now",
            metrics.template_changes.clone(),
        );
        for status in TEMPLATE_STATUSES {
            drop(metrics.template_changes.get_or_create(&TemplateLabel { status }));
        }
        registry.register(
            "tidings_media_transfers",
            "Tries to fetch a file from Meta, or to hand one over",
            metrics.transfers.clone(),
        );
        for direction in Transfer::ALL {
            for succeeded in [true, false] {
                drop(
                    metrics
                        .transfers
                        .get_or_create(&TransferLabels::new(direction, succeeded)),
                );
            }
        }
        registry.register(
            "tidings_webhook_notifications",
            "Notifications from Meta",
            metrics.notifications.clone(),
        );
        registry.register(
            "tidings_webhook_events",
            "Events from Meta, by what became of them",
            metrics.events.clone(),
        );
        registry.register(
            "tidings_webhook_ack_seconds",
            "Time from a notification's arrival to its answer",
            metrics.acknowledgement.clone(),
        );
        registry.register(
            "tidings_event_processing_seconds",
            "Time to understand an event: its share of its batch",
            metrics.processing.clone(),
        );
        registry.register(
            "tidings_send_seconds",
            "Time of one call to Meta that sends a message",
            metrics.send.clone(),
        );
        registry.register(
            "tidings_queue_wait_seconds",
            "Time from a message's acceptance to its first attempt",
            metrics.queue_wait.clone(),
        );
        registry.register(
            "tidings_queue_length",
            "Messages that wait to be sent",
            metrics.queue_length.clone(),
        );
        registry.register(
            "tidings_events_waiting",
            "Events that wait to be understood (100,000 at most), or are in the journal and not in the store yet",
            metrics.events_waiting.clone(),
        );
        registry.register(
            "tidings_events_oldest_waiting_seconds",
            "How long the longest has waited",
            metrics.oldest_event_waiting.clone(),
        );
        registry.register(
            "tidings_channel_last_event_seconds",
            "When the last event of a channel came, in seconds since 1970; no value before its first",
            metrics.last_event.clone(),
        );
        registry.register(
            "tidings_channel_ingest_lag_seconds",
            "From when the last event of a channel happened, by Meta's clock, to when it came",
            metrics.ingest_lag.clone(),
        );
        registry.register(
            "tidings_channel_missed_events",
            "Events that usually come in such hours, for the time in which none has come",
            metrics.channel_missed.clone(),
        );
        registry.register(
            "tidings_channel_silent",
            "Whether nothing comes from Meta for a channel, though at such hours it usually does",
            metrics.channel_silent.clone(),
        );
        registry.register(
            "tidings_channel_late",
            "Whether the last event of a channel came late, in the last hour",
            metrics.channel_late.clone(),
        );
        registry.register(
            "tidings_channel_up",
            "Whether a channel can send: it has credentials, and Meta has not refused them",
            metrics.channel_up.clone(),
        );
        registry.register(
            "tidings_circuit_open",
            "Whether a channel's circuit is open: too many of its calls have failed, and it tries with one message now and then",
            metrics.circuit_open.clone(),
        );
        registry.register(
            "tidings_channel_quality",
            "What Meta thinks of a WhatsApp number: 1 of its present quality (green, yellow, red, unknown), 0 of the others",
            metrics.channel_quality.clone(),
        );
        registry.register(
            "tidings_stream_subscribers",
            "Live streams that are open",
            metrics.stream_subscribers.clone(),
        );
        registry.register(
            "tidings_task_restarts",
            "Background tasks that failed and were started again",
            metrics.task_restarts.clone(),
        );
        registry.register(
            "tidings_reels_requests",
            "Requests for the feed of reels, by where the answer came from",
            metrics.feed.clone(),
        );
        for cache in ["hit", "miss", "stale", "error"] {
            drop(metrics.feed.get_or_create(&CacheLabel { cache }));
        }
        for platform in [Platform::WhatsApp, Platform::Instagram] {
            for result in NotificationResult::ALL {
                drop(metrics.notifications.get_or_create(&NotificationLabels {
                    channel: platform.as_str(),
                    result: result.as_str(),
                }));
            }
            for status in EventStatus::ALL {
                let kind = EventKind::Messages.as_str();
                drop(metrics.events.get_or_create(&EventLabels {
                    channel: platform.as_str(),
                    kind,
                    status: status.as_str(),
                }));
            }
        }
        Self { registry, ..metrics }
    }

    fn of(&self, platform: Platform) -> &PlatformCounters {
        match platform {
            Platform::WhatsApp => &self.whatsapp,
            Platform::Instagram => &self.instagram,
        }
    }

    /// As it is read.
    pub fn render(&self, exposition: Exposition) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        exposition.write(text)
    }

    /// A try to carry a file has ended.
    pub fn count_transfer(&self, direction: Transfer, succeeded: bool) {
        self.transfers
            .get_or_create(&TransferLabels::new(direction, succeeded))
            .inc();
    }

    /// A notification was answered.
    pub fn count_notification(&self, platform: Platform, result: NotificationResult) {
        self.notifications
            .get_or_create(&NotificationLabels {
                channel: platform.as_str(),
                result: result.as_str(),
            })
            .inc();
    }

    /// An event was kept.
    pub fn count_kept(&self, event: &NewEvent) {
        self.count_event(event.platform, event.kind, event.status());
    }

    /// An event was processed.
    pub fn count_processed(&self, event: &StoredEvent) {
        self.count_event(event.platform, event.kind, event.status);
        if let Some(micros) = event.processing_micros {
            self.processing
                .observe(Duration::from_micros(micros.unsigned_abs()).as_secs_f64());
        }
    }

    /// Each event once: one that is still to be processed, or tried again, is counted when it is done.
    fn count_event(&self, platform: Platform, kind: EventKind, status: EventStatus) {
        if status == EventStatus::Pending {
            return;
        }
        self.events
            .get_or_create(&EventLabels {
                channel: platform.as_str(),
                kind: kind.as_str(),
                status: status.as_str(),
            })
            .inc();
    }

    /// The feed of reels was asked for; `cache` is where the answer came from.
    pub fn count_feed(&self, cache: &'static str) {
        self.feed.get_or_create(&CacheLabel { cache }).inc();
    }

    /// A message came in.
    pub fn count_received(&self, channel: &ChannelId, kind: &'static str, channels: &Channels) {
        if let Some(platform) = channels.get(channel).and_then(|channel| channel.platform()) {
            self.of(platform)
                .received
                .get_or_create(&TypeLabel { r#type: kind })
                .inc();
        }
    }

    /// A call to Meta ended; `error` is its code and class.
    pub fn count_call(&self, platform: Platform, endpoint: &'static str, error: Option<(i64, &'static str)>) {
        let counters = self.of(platform);
        let status = if error.is_some() { "error" } else { "success" };
        counters.api_calls.get_or_create(&CallLabels { status, endpoint }).inc();
        if let Some((code, class)) = error {
            // Meta's codes are some hundreds; what is far outside cannot be one of them.
            let code = if (-10..10_000_000).contains(&code) {
                code.to_string()
            } else {
                "other".to_owned()
            };
            counters.api_errors.get_or_create(&ErrorLabels { code, class }).inc();
        }
    }

    /// A template has another status.
    pub fn count_template(&self, status: &str) {
        let known = TEMPLATE_STATUSES.into_iter().find(|known| *known == status);
        let status = known.unwrap_or("other");
        self.template_changes.get_or_create(&TemplateLabel { status }).inc();
    }

    /// A message was taken by Meta, or failed for good.
    pub fn count_sent(&self, platform: Platform, success: bool, kind: &'static str) {
        let status = if success { "success" } else { "failed" };
        self.of(platform)
            .sent
            .get_or_create(&SentLabels { status, r#type: kind })
            .inc();
    }

    /// A notification was answered after this time.
    pub fn observe_acknowledgement(&self, took: Duration) {
        self.acknowledgement.observe(took.as_secs_f64());
    }

    /// A send call took this time.
    pub fn observe_send(&self, took: Duration) {
        self.send.observe(took.as_secs_f64());
    }

    /// A message waited this long for its first attempt.
    pub fn observe_queue_wait(&self, waited: Duration) {
        self.queue_wait.observe(waited.as_secs_f64());
    }

    /// So many messages wait on a channel.
    pub fn set_queue_length(&self, channel: &ChannelId, state: &'static str, length: i64) {
        self.queue_length
            .get_or_create(&QueueLabels {
                channel: channel.0.clone(),
                state,
            })
            .set(length);
    }

    /// So many events wait to be understood, the longest for so long.
    pub fn set_events_waiting(&self, waiting: i64, oldest: Duration) {
        self.events_waiting.set(waiting);
        self.oldest_event_waiting.set(oldest.as_secs_f64());
    }

    /// The last event of a channel came then, this long after it happened, if Meta says when that was.
    pub fn set_channel_activity(&self, channel: &ChannelId, came_at: Duration, lag: Option<Duration>) {
        let label = ChannelLabel {
            channel: channel.0.clone(),
        };
        self.last_event.get_or_create(&label).set(came_at.as_secs_f64());
        match lag {
            Some(lag) => {
                self.ingest_lag.get_or_create(&label).set(lag.as_secs_f64());
            }
            // That of an earlier one says nothing of this one.
            None => {
                self.ingest_lag.remove(&label);
            }
        }
    }

    /// So many events are missing of a channel, which means that it is silent, or does not; and its last one came late, or in time.
    pub fn set_channel_hearing(&self, channel: &ChannelId, missed: f64, is_silent: bool, is_late: bool) {
        let label = ChannelLabel {
            channel: channel.0.clone(),
        };
        self.channel_missed.get_or_create(&label).set(missed);
        self.channel_silent.get_or_create(&label).set(is_silent.into());
        self.channel_late.get_or_create(&label).set(is_late.into());
    }

    /// A channel can send, or cannot.
    pub fn set_channel_up(&self, channel: &ChannelId, is_up: bool) {
        let label = ChannelLabel {
            channel: channel.0.clone(),
        };
        self.channel_up.get_or_create(&label).set(is_up.into());
    }

    /// A channel's circuit is open, or closed.
    pub fn set_circuit_open(&self, channel: &ChannelId, is_open: bool) {
        let label = ChannelLabel {
            channel: channel.0.clone(),
        };
        self.circuit_open.get_or_create(&label).set(is_open.into());
    }

    /// What Meta thinks of a number.
    pub fn set_channel_quality(&self, channel: &ChannelId, quality: Quality) {
        for one in Quality::ALL {
            let labels = QualityLabels::new(channel, one);
            self.channel_quality.get_or_create(&labels).set((one == quality).into());
        }
    }

    /// A channel is gone: nothing more is told of it.
    pub fn forget_channel(&self, channel: &ChannelId) {
        let label = ChannelLabel {
            channel: channel.0.clone(),
        };
        self.channel_up.remove(&label);
        self.circuit_open.remove(&label);
        for quality in Quality::ALL {
            self.channel_quality.remove(&QualityLabels::new(channel, quality));
        }
        self.last_event.remove(&label);
        self.ingest_lag.remove(&label);
        self.channel_missed.remove(&label);
        self.channel_silent.remove(&label);
        self.channel_late.remove(&label);
        for state in EntryState::ALL {
            self.queue_length.remove(&QueueLabels {
                channel: channel.0.clone(),
                state: state.as_str(),
            });
        }
    }

    /// Messages were delivered by a route although another one had taken over.
    pub fn count_late_deliveries(&self, count: u64) {
        self.late_deliveries.inc_by(count);
    }

    /// So many live streams are open.
    pub fn set_stream_subscribers(&self, subscribers: usize) {
        self.stream_subscribers
            .set(i64::try_from(subscribers).unwrap_or(i64::MAX));
    }

    /// A background task failed and is started again.
    pub fn count_task_restart(&self) {
        self.task_restarts.inc();
    }
}

impl PlatformCounters {
    fn register(registry: &mut Registry, platform: Platform) -> Self {
        let counters = Self {
            api_calls: Family::default(),
            api_errors: Family::default(),
            received: Family::default(),
            sent: Family::default(),
        };
        let registry = registry.sub_registry_with_prefix(platform.as_str());
        registry.register("api_calls", "Calls to Meta", counters.api_calls.clone());
        registry.register(
            "api_errors",
            "Errors that Meta answered with, or of the way to it",
            counters.api_errors.clone(),
        );
        registry.register("messages_received", "Messages from contacts", counters.received.clone());
        registry.register(
            "messages_sent",
            "Messages that Meta took, or that failed for good",
            counters.sent.clone(),
        );
        for status in ["success", "error"] {
            drop(counters.api_calls.get_or_create(&CallLabels {
                status,
                endpoint: "messages",
            }));
        }
        drop(counters.api_errors.get_or_create(&ErrorLabels {
            code: "0".to_owned(),
            class: "temporary",
        }));
        drop(counters.received.get_or_create(&TypeLabel { r#type: "text" }));
        for status in ["success", "failed"] {
            drop(counters.sent.get_or_create(&SentLabels { status, r#type: "text" }));
        }
        counters
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Exposition, Metrics};
    use crate::conversations::model::ChannelId;

    #[test]
    fn counters_exist_from_the_start_under_the_names_of_the_runbook() {
        let metrics = Metrics::new();
        let channel = ChannelId("shop".to_owned());
        metrics.set_channel_activity(
            &channel,
            Duration::from_millis(1_700_000_000_500),
            Some(Duration::from_millis(1_250)),
        );
        let text = metrics.render(Exposition::OpenMetrics);
        for line in [
            "whatsapp_api_calls_total{status=\"success\",endpoint=\"messages\"} 0",
            "whatsapp_api_errors_total{code=\"0\",class=\"temporary\"} 0",
            "whatsapp_messages_received_total{type=\"text\"} 0",
            "whatsapp_messages_sent_total{status=\"failed\",type=\"text\"} 0",
            "instagram_messages_sent_total{status=\"success\",type=\"text\"} 0",
            "tidings_webhook_notifications_total{channel=\"whatsapp\",result=\"invalid_signature\"} 0",
            "tidings_events_waiting 0",
            "tidings_channel_last_event_seconds{channel=\"shop\"} 1700000000.5",
            "tidings_channel_ingest_lag_seconds{channel=\"shop\"} 1.25",
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
    }
}
