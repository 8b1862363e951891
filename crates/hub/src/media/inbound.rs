//! What messages of Meta's refer to: noted with the message, to be fetched.

use crate::conversations::model::{Message, Millis};
use crate::ids::Ids;
use crate::media::model::{Media, Reference};
use crate::store::{StoreError, Tx};

/// How many files of one message are fetched.
const FILES_MAX: usize = 32;

/// Notes the files of messages that came from Meta; answers whether there are any. Part of the unit that writes the messages.
pub fn note(tx: &mut Tx<'_>, messages: &[&Message], ids: &Ids, now: Millis) -> Result<bool, StoreError> {
    let (mut media, mut references) = (Vec::new(), Vec::new());
    for message in messages {
        let files = message.content.files().into_iter().take(FILES_MAX);
        for (part, (_, file)) in (0..).zip(files) {
            let Some(wanted) = Media::wanted(ids.next(), &message.channel_id, message.id, file, now) else {
                continue;
            };
            references.push(Reference {
                message_id: message.id,
                channel_id: message.channel_id.clone(),
                part,
                media_id: wanted.id,
            });
            media.push(wanted);
        }
    }
    tx.insert_media(&media)?;
    tx.insert_media_references(&references)?;
    Ok(!media.is_empty())
}
