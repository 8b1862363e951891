-- What a channel has sent of late, however much others have: whom it wrote to, and how fast it goes.
CREATE INDEX attempts_by_channel ON attempts (channel_id, id);
