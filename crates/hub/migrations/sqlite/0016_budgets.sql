-- What is set aside of the outbox (`head` is 2: until it is due; 3: until there is room) is found however much waits.
CREATE INDEX outbox_aside ON outbox (channel_id, head, due_at) WHERE head > 1;

-- When Meta said last of a person that they get no more advertising, from anybody (its code 131049).
CREATE TABLE marketing_caps (
    contact_id BLOB PRIMARY KEY,
    met_at BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX marketing_caps_by_time ON marketing_caps (met_at);

-- What was used of a budget, by spans of five minutes: how many messages were handed to Meta, and how many people were written to outside of a
-- window, each in the span in which that was done last. A budget is that of a business account (`account:…`), whose numbers share it, or of a
-- channel without one (`channel:…`).
CREATE TABLE budget_counts (
    budget TEXT NOT NULL,
    kind TEXT NOT NULL,                -- messages, people
    span BIGINT NOT NULL,              -- since 1970
    count BIGINT NOT NULL,
    PRIMARY KEY (budget, kind, span)
) WITHOUT ROWID;

-- Whom a business has written to outside of a window, and when last. It takes the place of contacts_reached, which is read no more and goes
-- with a later step.
CREATE TABLE people_reached (
    budget TEXT NOT NULL,
    contact_id BLOB NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (budget, contact_id)
) WITHOUT ROWID;
CREATE INDEX people_reached_by_time ON people_reached (budget, at);

INSERT INTO budget_counts (budget, kind, span, count)
    SELECT COALESCE('account:' || c.business_account, 'channel:' || c.id), 'messages', p.span, CAST(SUM(p.count) AS BIGINT)
    FROM pace_counts AS p JOIN channels AS c ON c.id = p.channel_id GROUP BY 1, 2, 3;
INSERT INTO people_reached (budget, contact_id, at)
    SELECT COALESCE('account:' || c.business_account, 'channel:' || c.id), v.contact_id, MAX(r.at)
    FROM contacts_reached AS r JOIN channels AS c ON c.id = r.channel_id JOIN conversations AS v ON v.id = r.conversation_id
    GROUP BY 1, 2;
INSERT INTO budget_counts (budget, kind, span, count)
    SELECT budget, 'people', at / 300000, COUNT(*) FROM people_reached GROUP BY 1, 2, 3;
