// The business's posts on Instagram, and what is written under them: the customer comments, answers and deletes, and sees what the business
// says. A comment that the business has hidden is shown to whoever wrote it, and to nobody else.

import { element, hidden, onTime, reconcile, told, shortDayFormat } from "./draw.js";
import { oneAtATime } from "./once.js";
import { contentSheet } from "./sheets.js";

const postsShownMax = 20;

/** What is open: {api, customerId, accountId, answering, drafts, list, note}, or null; `drafts` is what is being written, by post. */
let shown = null;

/**
 * Opens the posts of an account. `api`: {call(method, path, body), post(body), toast(text)}: how the page asks the control API, does something in the
 * chosen thread, and says what went wrong.
 */
export async function openPosts(api, customerId, accountId) {
  const list = element("ol", { id: "posts", class: "plain-list posts" });
  const note = element("p", { class: "quiet" }, "Reading the posts…");
  shown = { api, customerId, accountId, answering: null, drafts: new Map(), list, note };
  contentSheet("Posts", [list, note], () => { shown = null; });
  await refreshPosts();
}

/** Reads again what is open. */
export const refreshPosts = oneAtATime(async () => {
  if (!shown) return;
  const about = shown;
  const { api, accountId } = about;
  try {
    const { posts } = await api.call("GET", `sandbox/instagram-accounts/${encodeURIComponent(accountId)}/posts`);
    const all = await Promise.all(posts.slice(0, postsShownMax).map(async (post) => {
      const { comments } = await api.call("GET", `sandbox/posts/${encodeURIComponent(post.id)}/comments`);
      return { ...post, said: comments };
    }));
    if (shown === about) draw(all);
  } catch (problem) {
    if (shown === about) about.note.textContent = `The posts could not be read. ${problem.message}`;
  }
});

function draw(posts) {
  const { note } = shown;
  note.hidden = posts.length > 0;
  note.textContent = "There is no post yet: what you say below makes the first one.";
  const rows = posts.map((post) => ({ key: `post ${post.id}`, looks: [post, shown.answering], draw: () => postRow(post) }));
  if (!posts.length) rows.push({ key: "none", looks: "none", draw: () => element("li", { class: "wall-post" }, writing(undefined, null)) });
  reconcile(shown.list, rows);
}

const kindNames = { image: "Photo", video: "Film", reel: "Reel", carousel: "Album", story: "Story" };

function postRow(post) {
  const visible = post.said.filter((comment) => !comment.hidden || comment.customer === shown.customerId);
  const first = visible.filter((comment) => !comment.parentId);
  const name = post.isLive ? "Live now" : kindNames[post.kind] ?? "Post";
  return element("li", { class: "wall-post" },
    element("p", { class: "wall-head" }, element("strong", {}, name), element("span", { class: "quiet" }, onTime(post.at) ? told(shortDayFormat, post.at) : "")),
    post.caption && element("p", { class: "wall-caption", dir: "auto" }, post.caption),
    element("ol", { class: "plain-list comments" }, first.map((comment) => element("li", {},
      commentLine(comment),
      element("ol", { class: "plain-list answers" }, visible.filter((answer) => answer.parentId === comment.id).map((answer) => element("li", {}, commentLine(answer))))))),
    writing(post.id, post.said.some((comment) => comment.id === shown.answering?.id) ? shown.answering : null));
}

function commentLine(comment) {
  const own = comment.customer === shown.customerId;
  const marks = [
    comment.hidden && element("span", { class: "mark" }, "Hidden by the business"),
    own && comment.answeredPrivately && element("span", { class: "mark" }, "Answered in a message"),
  ];
  const about = comment.username ?? "somebody";
  return element("div", { class: "comment", "data-comment": comment.id, "data-hidden": String(comment.hidden), "data-by": comment.byBusiness ? "business" : own ? "me" : "other" },
    element("p", {}, element("strong", {}, about), " ", element("span", { dir: "auto" }, comment.text)),
    element("p", { class: "comment-acts" }, marks,
      element("button", { type: "button", class: "link-button", onclick: () => answer(comment) }, "Reply", hidden(` to ${about}`)),
      own && element("button", { type: "button", class: "link-button", onclick: () => act({ type: "delete_comment", commentId: comment.id }) }, "Delete", hidden(" this comment"))));
}

/** Answers are put under the first comment, and say to whom they are, as in the app. */
function answer(comment) {
  shown.answering = { id: comment.id, username: comment.username };
  refreshPosts().then(() => {
    const line = shown?.list.querySelector(`[data-comment="${CSS.escape(comment.id)}"]`);
    line?.closest(".wall-post").querySelector("input").focus();
  });
}

function writing(mediaId, answering) {
  const input = element("input", { class: "field", maxlength: "2200", "aria-label": "Comment", placeholder: answering?.username ? `Reply to ${answering.username}` : "Add a comment" });
  // What is drawn anew keeps what is being written in it.
  input.value = shown.drafts.get(mediaId) ?? "";
  input.addEventListener("input", () => shown?.drafts.set(mediaId, input.value));
  const say = async () => {
    const text = input.value.trim();
    if (!text) return;
    const parentId = answering?.id;
    shown.drafts.delete(mediaId);
    if (await act({ type: "comment", text, mediaId, parentId })) input.value = "";
    else shown?.drafts.set(mediaId, text);
  };
  input.addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); say(); } });
  return element("div", { class: "wall-writing" }, input, element("button", { type: "button", class: "small-button strong", onclick: say }, "Post"));
}

async function act(body) {
  const { api } = shown;
  try {
    await api.post(body);
    if (shown) shown.answering = null;
    return true;
  } catch (problem) {
    api.toast(problem.message);
    return false;
  } finally {
    await refreshPosts();
  }
}
