//! Reads server-sent events out of bytes (the format: HTML Living Standard, section 9.2.6).

use std::time::Duration;

/// A line longer than this is not the hub's.
const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StreamEvent {
    /// After which to resume, once this one was dealt with.
    pub(super) id: Option<String>,
    /// Its kind; empty for the nameless one.
    pub(super) kind: String,
    /// What it says.
    pub(super) data: String,
}

/// Turns chunks into events, and remembers from where to resume.
#[derive(Debug, Default)]
pub(super) struct StreamReader {
    waiting: Vec<u8>,
    kind: String,
    data: Vec<String>,
    /// The id of the event that is being read; it counts once the event is whole.
    id: Option<String>,
    /// The id after which to resume.
    pub(super) last_event_id: Option<String>,
    /// How long the server wants a client to wait before it comes back.
    pub(super) retry: Option<Duration>,
}

/// The bytes are no event stream.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream has a line of more than {LINE_BYTES_MAX} bytes")]
pub(super) struct LineTooLong;

impl StreamReader {
    /// Resumes after the event with this id; without one it takes what comes.
    pub(super) fn after(id: Option<String>) -> Self {
        Self {
            last_event_id: id,
            ..Self::default()
        }
    }

    /// What a new connection begins with: half an event of the old one is not completed.
    pub(super) fn reconnect(&mut self) {
        self.waiting.clear();
        self.kind.clear();
        self.data.clear();
        self.id = None;
    }

    /// The events that are complete with this chunk.
    pub(super) fn read(&mut self, chunk: &[u8]) -> Result<Vec<StreamEvent>, LineTooLong> {
        self.waiting.extend_from_slice(chunk);
        let mut events = Vec::new();
        let mut start = 0;
        while let Some(length) = self.waiting[start..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&self.waiting[start..start + length]).into_owned();
            start += length + 1;
            events.extend(self.line(line.strip_suffix('\r').unwrap_or(&line)));
        }
        self.waiting.drain(..start);
        if self.waiting.len() > LINE_BYTES_MAX {
            Err(LineTooLong)
        } else {
            Ok(events)
        }
    }

    fn line(&mut self, line: &str) -> Option<StreamEvent> {
        if line.is_empty() {
            let kind = std::mem::take(&mut self.kind);
            let data = std::mem::take(&mut self.data);
            self.last_event_id = self.id.take().or(self.last_event_id.take());
            return (!data.is_empty()).then(|| StreamEvent {
                id: self.last_event_id.clone(),
                kind,
                data: data.join("\n"),
            });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.kind),
            "data" => self.data.push(value.to_owned()),
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "retry" => self.retry = value.parse().ok().map(Duration::from_millis).or(self.retry),
            // Comments, and what a newer server may add.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\n\nid: 7\nevent: message.created\ndata: {\"a\":\ndata:1}\n\nretry: 250\r\nid:8\r\ndata: é\r\n\r\nevent: empty\n\nretry: soon\ndata\n\n";

    fn event(id: &str, kind: &str, data: &str) -> StreamEvent {
        StreamEvent {
            id: (!id.is_empty()).then(|| id.to_owned()),
            kind: kind.to_owned(),
            data: data.to_owned(),
        }
    }

    #[test]
    fn events_are_read_however_the_bytes_are_cut() {
        for size in 1..STREAM.len() {
            let mut reader = StreamReader::default();
            let chunks = STREAM.as_bytes().chunks(size);
            let events: Vec<_> = chunks.flat_map(|chunk| reader.read(chunk).unwrap()).collect();
            assert_eq!(
                events,
                [
                    event("7", "message.created", "{\"a\":\n1}"),
                    event("8", "", "é"),
                    event("8", "", "")
                ],
                "{size}"
            );
            assert_eq!(reader.last_event_id.as_deref(), Some("8"));
            assert_eq!(reader.retry, Some(Duration::from_millis(250)));
        }
    }

    #[test]
    fn half_an_event_is_not_completed_by_another_connection() {
        let mut reader = StreamReader::default();
        assert_eq!(
            reader.read(b"id: 1\ndata: a\n\nid: 2\nevent: b\ndata: half").unwrap(),
            [event("1", "", "a")]
        );
        reader.reconnect();
        assert_eq!(reader.last_event_id.as_deref(), Some("1"));
        assert_eq!(reader.read(b"data: whole\n\n").unwrap(), [event("1", "", "whole")]);
    }

    #[test]
    fn a_line_without_an_end_is_refused() {
        let mut reader = StreamReader::default();
        let chunk = vec![b'x'; LINE_BYTES_MAX];
        assert_eq!(reader.read(&chunk), Ok(Vec::new()));
        assert_eq!(reader.read(b"x"), Err(LineTooLong));
    }
}
