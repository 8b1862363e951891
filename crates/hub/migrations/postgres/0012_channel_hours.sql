-- How many events each channel had in each hour: what is usual, and what silence is measured by. An hour is numbered from 1970 on.
CREATE TABLE channel_hours (
    channel_id TEXT NOT NULL,
    hour BIGINT NOT NULL,
    events BIGINT NOT NULL,
    PRIMARY KEY (channel_id, hour)
);
