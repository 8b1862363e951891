//! What is counted, as it is read: OpenMetrics, or the older text format of Prometheus, which everything else that reads metrics understands.

use std::collections::HashSet;

/// A format that metrics are read in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus's text format 0.0.4.
    Text,
}

impl Exposition {
    /// What a caller wants that accepts this: OpenMetrics has to be asked for.
    pub fn accepted(accept: Option<&str>) -> Self {
        let asked_for =
            accept.is_some_and(|accept| accept.to_ascii_lowercase().contains("application/openmetrics-text"));
        if asked_for { Self::OpenMetrics } else { Self::Text }
    }

    /// Its content type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Writes OpenMetrics in this format.
    pub(super) fn write(self, open_metrics: String) -> String {
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Text => as_text(&open_metrics),
        }
    }
}

/// The samples are the same in both. In the older format a counter is described under the name that its sample has, and nothing marks the end.
fn as_text(open_metrics: &str) -> String {
    let of_counters: HashSet<&str> = open_metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        let described = line.strip_prefix("# ").and_then(|described| {
            let (what, rest) = described.split_once(' ')?;
            let (name, told) = rest.split_once(' ')?;
            Some((what, name, told))
        });
        match described {
            Some((what @ ("HELP" | "TYPE"), name, told)) => {
                let total = if of_counters.contains(name) { "_total" } else { "" };
                text.extend(["# ", what, " ", name, total, " ", told, "\n"]);
            }
            _ if line.starts_with('#') => {}
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_described_under_the_name_of_its_sample() {
        let open_metrics = "# HELP calls Calls to Meta.\n# TYPE calls counter\ncalls_total{status=\"success\"} 1\n# HELP length Length.\n\
                            # TYPE length gauge\n# UNIT length seconds\nlength 2\n# EOF\n";
        assert_eq!(
            Exposition::Text.write(open_metrics.to_owned()),
            "# HELP calls_total Calls to Meta.\n# TYPE calls_total counter\ncalls_total{status=\"success\"} 1\n# HELP length Length.\n\
             # TYPE length gauge\nlength 2\n"
        );
        assert_eq!(Exposition::OpenMetrics.write(open_metrics.to_owned()), open_metrics);
    }

    #[test]
    fn openmetrics_is_for_whoever_asks_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(Exposition::accepted(Some(prometheus)), Exposition::OpenMetrics);
        for accept in [None, Some("*/*"), Some("text/html,text/plain;q=0.9")] {
            assert_eq!(Exposition::accepted(accept), Exposition::Text);
        }
    }
}
