// What can be run of a guide: its fenced blocks with a word behind their language, in the order in which they stand there.
//
// - `json CHANNEL NAME`: the body of `POST /api/v1/messages/send`.
// - `sh NAME` or `sh CHANNEL NAME`: run by a shell that knows `HUB`, `KEY`, `CONVERSATION` and `COMMENT`; on WhatsApp where no channel is named.
// - `json answer`: what the block before it is answered, as far as it is written there.
// - `json later`: what becomes of the message of the block before it.
//
// Ids of the guide are `msg_…`, `med_…` and so on, and its times lie in its future: whoever runs it puts others in their places.

import assert from "node:assert/strict";

/** Each block as `{language, channel, name, text, answer, later}`; `key` is what its picture and its test are called. */
export function blocksOf(guide) {
  const blocks = [];
  for (const [, language, words, text] of guide.matchAll(/^```(\w+) (.+)\n([^]*?)^```$/gm)) {
    const [first, second] = words.split(" ");
    if (language === "json" && !second) blocks.at(-1)[first] = JSON.parse(text);
    else {
      const [channel, name] = second ? [first, second] : ["whatsapp", first];
      blocks.push({ language, channel, name, text, key: `${channel}-${name}` });
    }
  }
  const keys = blocks.map((block) => block.key);
  assert.deepEqual(keys.filter((key, at) => keys.indexOf(key) !== at), [], "each block has a name of its own");
  return blocks;
}

/** The pictures of a guide: their files, by the blocks that they show. */
export function picturesOf(guide, folder) {
  return [...guide.matchAll(/<img src="([^"]+)"/g)].map(([, file]) => file).filter((file) => file.includes(`/${folder}/`));
}

/** Whether a document says what is expected of it; `…` stands for anything, and a document may say more. */
export function says(actual, expected, place = "the answer") {
  if (Array.isArray(expected)) {
    assert.ok(Array.isArray(actual), `${place} is a list: ${JSON.stringify(actual)}`);
    assert.equal(actual.length, expected.length, `${place}: ${JSON.stringify(actual)}`);
    expected.forEach((one, at) => says(actual[at], one, `${place}[${at}]`));
  } else if (expected !== null && typeof expected === "object") {
    assert.ok(actual !== null && typeof actual === "object", `${place} is an object: ${JSON.stringify(actual)}`);
    for (const [name, one] of Object.entries(expected)) says(actual[name], one, `${place}.${name}`);
  } else if (typeof expected === "string" && expected.includes("…")) {
    const parts = expected.split("…").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    assert.match(String(actual), new RegExp(`^${parts.join(".*")}$`, "s"), place);
  } else {
    assert.deepEqual(actual, expected, place);
  }
}
