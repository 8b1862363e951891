//! The log: one line an event, on standard error, for people or for machines.
//!
//! Set up once, by the command that runs for long; the others are silent unless they fail.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::config::{LogConfig, LogFormat};

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter is none.
    #[error(
        "the log's filter {filter:?} cannot be understood; set TIDINGS_LOG to info, debug or info,tidings::sending=debug"
    )]
    Filter {
        /// What was given.
        filter: String,
        /// Why.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Somebody else did it before.
    #[error("logging was set up already")]
    Twice,
}

/// Sets up logging for the whole process.
pub fn init(config: &LogConfig) -> Result<(), LoggingError> {
    let colour = config.format == LogFormat::Pretty && stderr().is_terminal();
    let subscriber = subscriber(config, colour, BoxMakeWriter::new(stderr))?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LoggingError::Twice)
}

fn subscriber(
    config: &LogConfig,
    colour: bool,
    writer: BoxMakeWriter,
) -> Result<Box<dyn tracing::Subscriber + Send + Sync>, LoggingError> {
    let filter = EnvFilter::builder()
        .parse(&config.filter)
        .map_err(|source| LoggingError::Filter {
            filter: config.filter.clone(),
            source,
        })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(colour);
    Ok(match config.format {
        LogFormat::Pretty => Box::new(builder.compact().finish()),
        LogFormat::Json => Box::new(builder.json().flatten_event(true).finish()),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, format: LogFormat) -> String {
        let written = Written::default();
        let writer = written.clone();
        let config = LogConfig {
            filter: filter.to_owned(),
            format,
        };
        let subscriber = subscriber(&config, false, BoxMakeWriter::new(move || writer.clone())).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(event = "evt_1", "two\nlines");
            tracing::debug!("hidden");
        });
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_json_line_is_one_object() {
        let text = logged("info", LogFormat::Json);
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "two\nlines");
        assert_eq!(line["event"], "evt_1");
        assert_eq!(line["level"], "INFO");
        assert!(line["timestamp"].is_string());
    }

    #[test]
    fn a_line_for_people_has_no_colour_where_none_is_wanted() {
        let text = logged("info", LogFormat::Pretty);
        assert!(text.contains("INFO") && text.contains("evt_1"), "{text}");
        assert!(!text.contains('\u{1b}') && !text.contains("hidden"), "{text}");
    }

    #[test]
    fn the_filter_is_kept_to() {
        assert_eq!(logged("warn", LogFormat::Pretty), "");
        assert!(logged("debug", LogFormat::Pretty).contains("hidden"));
        let config = LogConfig {
            filter: "tidings=loud".to_owned(),
            format: LogFormat::Pretty,
        };
        assert!(matches!(init(&config), Err(LoggingError::Filter { .. })));
    }
}
