//! One sender for each channel that there is: started when the channel comes, ended when it goes.
//!
//! A sender that fails is started again like any background task ([`crate::tasks::supervise`]), and the others go on.

use std::collections::HashMap;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::conversations::model::ChannelId;
use crate::sending::sender;
use crate::tasks::supervise;

/// Runs until told to stop; then lets every sender finish what is under way.
pub async fn run(app: App, stop: CancellationToken) {
    let mut changes = app.channels.changes();
    let mut running: HashMap<ChannelId, CancellationToken> = HashMap::new();
    let mut senders: JoinSet<ChannelId> = JoinSet::new();
    while !stop.is_cancelled() {
        for (id, token) in &running {
            if app.channels.get(id).is_none() {
                token.cancel();
            }
        }
        for channel in app.channels.all() {
            // One that is still ending is started anew once it has.
            if !running.contains_key(&channel.id) {
                let token = stop.child_token();
                running.insert(channel.id.clone(), token.clone());
                senders.spawn(send_by(app.clone(), channel.id.clone(), token));
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = changes.changed() => {}
            Some(ended) = senders.join_next() => {
                let Ok(id) = ended else { panic!("a sender ended otherwise than by its supervisor") };
                running.remove(&id);
            }
        }
    }
    while senders.join_next().await.is_some() {}
}

async fn send_by(app: App, id: ChannelId, stop: CancellationToken) -> ChannelId {
    let (name, channel) = (format!("sender {id}"), id.clone());
    supervise(&app, &name, &stop, move |app, stop| {
        sender::run(app, channel.clone(), stop)
    })
    .await;
    id
}
