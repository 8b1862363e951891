-- What is done to another message (a reaction) is sent like one, and is none of its conversation's list.
ALTER TABLE messages ADD COLUMN aside SMALLINT NOT NULL DEFAULT 0;
