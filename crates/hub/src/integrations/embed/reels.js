// <tidings-reels>: the reels of an Instagram account, from a Tidings hub.
//
//   <script src="https://messages.example.com/embed/reels.js" defer></script>
//   <tidings-reels limit="6"></tidings-reels>
//
// Attributes: `src` (the feed; that of the hub the script came from if left out), `limit` (1 to 25), `theme` (`light`, `dark`, or what the
// visitor prefers), `lang`. Colours and sizes are custom properties, see STYLE below; parts can be styled with ::part(reel), ::part(more).
// Events: `reelplay` and `reelsload`, whose `detail` says what.
(() => {
  "use strict";

  if (customElements.get("tidings-reels")) return;

  const script = document.currentScript;
  const base = script instanceof HTMLScriptElement && script.src ? script.src : document.baseURI;
  const FEED = new URL("../integrations/instagram/reels", base).href;
  const LIMIT = 6;
  // Pages that bring nothing are passed over, so many in a row.
  const EMPTY_PAGES_MAX = 5;

  const TEXTS = {
    en: {
      region: "Instagram Reels", loading: "Loading reels", play: "Play reel", untitled: "Reel without a title", views: "views",
      likes: "likes", open: "Open on Instagram", opens: "opens in a new tab", more: "Load more", loadingMore: "Loading…",
      added: (count) => (count === 1 ? "1 more reel" : `${count} more reels`), empty: "No reels yet",
      emptyHint: "New reels will show up here.", error: "The reels could not be loaded", retry: "Try again",
      broken: "This reel cannot be played here.", close: "Close the video",
    },
    nl: {
      region: "Instagram Reels", loading: "Reels laden", play: "Reel afspelen", untitled: "Reel zonder titel", views: "weergaven",
      likes: "vind-ik-leuks", open: "Openen op Instagram", opens: "opent in een nieuw tabblad", more: "Meer laden", loadingMore: "Laden…",
      added: (count) => (count === 1 ? "1 reel erbij" : `${count} reels erbij`), empty: "Nog geen reels",
      emptyHint: "Nieuwe reels verschijnen hier.", error: "De reels konden niet worden geladen", retry: "Opnieuw proberen",
      broken: "Deze reel kan hier niet worden afgespeeld.", close: "Video sluiten",
    },
    de: {
      region: "Instagram Reels", loading: "Reels werden geladen", play: "Reel abspielen", untitled: "Reel ohne Titel", views: "Aufrufe",
      likes: "Gefällt mir", open: "Auf Instagram öffnen", opens: "öffnet einen neuen Tab", more: "Mehr laden", loadingMore: "Lädt…",
      added: (count) => (count === 1 ? "1 weiteres Reel" : `${count} weitere Reels`), empty: "Noch keine Reels",
      emptyHint: "Neue Reels erscheinen hier.", error: "Die Reels konnten nicht geladen werden", retry: "Erneut versuchen",
      broken: "Dieses Reel kann hier nicht abgespielt werden.", close: "Video schließen",
    },
  };

  const STYLE = `
    :host {
      --reels-ground: #ffffff; --reels-ink: #16181d; --reels-quiet: #5a606b; --reels-card: #eef0f4; --reels-line: #d6dae1;
      --reels-accent: #b3135f; --reels-accent-ink: #ffffff; --reels-radius: 14px; --reels-gap: 14px; --reels-column: 168px;
      display: block; box-sizing: border-box; color: var(--reels-ink); color-scheme: light;
      font: 400 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
      container-type: inline-size;
    }
    :host([hidden]) { display: none; }
    @media (prefers-color-scheme: dark) {
      :host(:not([theme="light"])) {
        --reels-ground: #101216; --reels-ink: #f1f3f6; --reels-quiet: #a7aeba; --reels-card: #22262d; --reels-line: #3a404a;
        --reels-accent: #ff7db3; --reels-accent-ink: #2b0013; color-scheme: dark;
      }
    }
    :host([theme="dark"]) {
      --reels-ground: #101216; --reels-ink: #f1f3f6; --reels-quiet: #a7aeba; --reels-card: #22262d; --reels-line: #3a404a;
      --reels-accent: #ff7db3; --reels-accent-ink: #2b0013; color-scheme: dark;
    }
    :host([frame]) { background: var(--reels-ground); padding: 16px; }
    *, *::before, *::after { box-sizing: border-box; }
    button { font: inherit; color: inherit; }
    .grid {
      list-style: none; margin: 0; padding: 0; display: grid; gap: calc(var(--reels-gap) * 1.4) var(--reels-gap);
      grid-template-columns: repeat(auto-fill, minmax(min(var(--reels-column), calc(50% - var(--reels-gap) / 2)), 1fr));
    }
    .reel { min-width: 0; }
    .stage {
      position: relative; aspect-ratio: 9 / 16; border-radius: var(--reels-radius); overflow: hidden; background: var(--reels-card);
      box-shadow: 0 1px 2px rgb(0 0 0 / 12%); transition: box-shadow 160ms ease, transform 160ms ease;
    }
    .reel:hover .stage:not(.playing) { box-shadow: 0 10px 24px rgb(0 0 0 / 22%); transform: translateY(-2px); }
    .tile { all: unset; box-sizing: border-box; position: absolute; inset: 0; cursor: pointer; display: block; border-radius: inherit; }
    .tile img { width: 100%; height: 100%; object-fit: cover; display: block; }
    .tile img.missing { visibility: hidden; }
    .tile::after {
      content: ""; position: absolute; inset: 45% 0 0; pointer-events: none;
      background: linear-gradient(to bottom, transparent, rgb(0 0 0 / 72%));
    }
    .sign {
      position: absolute; inset: 0; margin: auto; width: 54px; height: 54px; border-radius: 50%; display: grid; place-items: center;
      background: rgb(12 12 16 / 52%); color: #ffffff; backdrop-filter: blur(6px); z-index: 1;
      box-shadow: inset 0 0 0 1.5px rgb(255 255 255 / 75%);
      transition: transform 160ms ease, background 160ms ease;
    }
    .tile:hover .sign, .tile:focus-visible .sign { transform: scale(1.1); background: rgb(12 12 16 / 82%); }
    .sign svg { width: 24px; height: 24px; margin-left: 3px; }
    .count {
      position: absolute; left: 10px; bottom: 9px; z-index: 1; display: flex; align-items: center; gap: 5px; color: #ffffff;
      font-size: 13px; font-weight: 600; text-shadow: 0 1px 2px rgb(0 0 0 / 60%);
    }
    .count svg { width: 13px; height: 13px; }
    :is(button, a, video):focus-visible { outline: 3px solid var(--reels-accent); outline-offset: 3px; }
    .stage:has(.tile:focus-visible) { outline: 3px solid var(--reels-accent); outline-offset: 3px; }
    .tile:focus-visible { outline: none; }
    video { position: absolute; inset: 0; width: 100%; height: 100%; background: #000000; object-fit: contain; border-radius: inherit; }
    .close {
      position: absolute; top: 8px; right: 8px; z-index: 2; width: 36px; height: 36px; padding: 0; border: 0; border-radius: 50%;
      display: grid; place-items: center; background: rgb(12 12 16 / 72%); color: #ffffff; cursor: pointer;
    }
    .close svg { width: 16px; height: 16px; }
    .fault { position: absolute; inset: 0; display: grid; place-items: center; padding: 14px; text-align: center; color: var(--reels-ink); }
    .below { display: flex; gap: 8px; align-items: flex-start; margin-top: 8px; }
    .caption {
      flex: 1; min-width: 0; margin: 0; font-size: 13.5px; color: var(--reels-ink); overflow: hidden; overflow-wrap: anywhere;
      display: -webkit-box; -webkit-line-clamp: 2; -webkit-box-orient: vertical;
    }
    .caption-box { flex: 1; min-width: 0; }
    .likes { color: var(--reels-quiet); font-size: 12.5px; margin: 2px 0 0; }
    .outside {
      flex: none; width: 32px; height: 32px; margin: -4px -6px 0 0; display: grid; place-items: center; border-radius: 8px;
      color: var(--reels-quiet);
    }
    .outside:hover { color: var(--reels-accent); background: var(--reels-card); }
    .outside svg { width: 18px; height: 18px; }
    .foot { display: flex; justify-content: center; margin-top: 24px; }
    .foot:empty { display: none; }
    .more {
      min-height: 44px; padding: 10px 28px; border-radius: 999px; border: 1px solid transparent; cursor: pointer; font-weight: 600;
      background: var(--reels-accent); color: var(--reels-accent-ink); transition: filter 120ms ease;
    }
    .more:hover { filter: brightness(1.08); }
    .more[aria-disabled="true"] { filter: saturate(.4); cursor: progress; }
    .note { text-align: center; padding: 48px 16px; border: 1px dashed var(--reels-line); border-radius: var(--reels-radius); }
    .note svg { width: 40px; height: 40px; color: var(--reels-quiet); }
    .note .title { margin: 10px 0 4px; font-size: 17px; font-weight: 650; color: var(--reels-ink); }
    .note .hint { margin: 0 0 16px; color: var(--reels-quiet); }
    .note .hint:last-child { margin-bottom: 0; }
    .ghost .stage { animation: breathe 1.4s ease-in-out infinite alternate; box-shadow: none; }
    @keyframes breathe { from { opacity: 1; } to { opacity: .45; } }
    .quiet {
      position: absolute; width: 1px; height: 1px; margin: -1px; padding: 0; overflow: hidden; clip-path: inset(50%); white-space: nowrap;
    }
    @media (prefers-reduced-motion: reduce) {
      .stage, .sign, .more, .ghost .stage { transition: none; animation: none; }
      .reel:hover .stage { transform: none; }
    }
    @media (forced-colors: active) { .sign, .close, .more { border: 1px solid ButtonText; } }
  `;

  const PATHS = {
    play: "M8 5.1v13.8a1 1 0 0 0 1.5.86l11.4-6.9a1 1 0 0 0 0-1.72L9.5 4.24A1 1 0 0 0 8 5.1Z",
    close: "M5.6 4.2 12 10.6l6.4-6.4 1.4 1.4-6.4 6.4 6.4 6.4-1.4 1.4-6.4-6.4-6.4 6.4-1.4-1.4 6.4-6.4-6.4-6.4z",
    outside: "M14 4h6v6h-2V7.4l-7.3 7.3-1.4-1.4L16.6 6H14zM5 6h6v2H6v10h10v-5h2v6a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V7a1 1 0 0 1 1-1Z",
    film: "M5 4h14a2 2 0 0 1 2 2v12a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2V6a2 2 0 0 1 2-2Zm0 2v12h14V6Zm5 2.6 5.6 3.4-5.6 3.4Z",
  };

  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE);

  /** An element with properties, attributes (those with a hyphen, and a few more) and children. */
  function make(name, properties = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(properties)) {
      if (key in element && !key.includes("-")) element[key] = value;
      else element.setAttribute(key, value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  }

  function icon(name) {
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("fill", "currentColor");
    svg.setAttribute("aria-hidden", "true");
    svg.setAttribute("focusable", "false");
    const path = document.createElementNS(space, "path");
    path.setAttribute("d", PATHS[name]);
    svg.append(path);
    return svg;
  }

  /** The beginning of a caption, for those who hear it. */
  function spoken(text) {
    const line = (text || "").replace(/\s+/g, " ").trim();
    return line.length > 100 ? `${line.slice(0, 99).trimEnd()}…` : line;
  }

  /** An address that may be shown or opened: of the web, whatever stands in the feed. */
  function webAddress(text, from) {
    if (!text) return null;
    try {
      const url = new URL(text, from);
      return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
    } catch {
      return null;
    }
  }

  class TidingsReels extends HTMLElement {
    static observedAttributes = ["src", "limit", "lang"];

    #root = this.attachShadow({ mode: "open" });
    #grid = make("ul", { className: "grid", role: "list" });
    #foot = make("div", { className: "foot" });
    #note = make("div");
    #status = make("p", { className: "quiet", role: "status" });
    #cursor = null;
    #request = null;
    #sight = null;
    #playing = null;
    #started = false;
    #filled = false;

    constructor() {
      super();
      this.#root.adoptedStyleSheets = [sheet];
      this.#grid.setAttribute("part", "grid");
      this.#root.append(this.#grid, this.#note, this.#foot, this.#status);
    }

    connectedCallback() {
      if (!this.hasAttribute("role")) this.setAttribute("role", "region");
      if (!this.hasAttribute("aria-label")) this.setAttribute("aria-label", this.#text.region);
      if (this.hasAttribute("frame")) this.#fillFrame();
      if (this.#started || !("IntersectionObserver" in window)) {
        this.#begin();
        return;
      }
      // Nothing is asked for before the visitor comes near.
      this.#sight = new IntersectionObserver(
        (entries) => {
          if (entries.some((entry) => entry.isIntersecting)) this.#begin();
        },
        { rootMargin: "600px" },
      );
      this.#showGhosts();
      this.#sight.observe(this);
    }

    disconnectedCallback() {
      this.#sight?.disconnect();
      this.#request?.abort();
    }

    attributeChangedCallback(name, before, after) {
      if (this.#started && this.isConnected && before !== after) this.#begin();
    }

    get #text() {
      const asked = (this.getAttribute("lang") || document.documentElement.lang || navigator.language || "en").toLowerCase();
      return TEXTS[asked.split("-")[0]] ?? TEXTS.en;
    }

    get #limit() {
      const limit = Number.parseInt(this.getAttribute("limit") ?? "", 10);
      return limit >= 1 && limit <= 25 ? limit : LIMIT;
    }

    get #feed() {
      const src = this.getAttribute("src");
      return src ? new URL(src, document.baseURI).href : FEED;
    }

    #number(count) {
      const language = this.getAttribute("lang") || document.documentElement.lang || undefined;
      try {
        return new Intl.NumberFormat(language, { notation: "compact", maximumFractionDigits: 1 }).format(count);
      } catch {
        return String(count);
      }
    }

    /** In a frame the element is the page: the page has no margin, and the frame's owner is told how high it is. */
    #fillFrame() {
      if (this.#filled) return;
      this.#filled = true;
      const page = new CSSStyleSheet();
      page.replaceSync("html, body { margin: 0; background: transparent; }");
      this.#root.prepend(make("h1", { className: "quiet", textContent: this.#text.region }));
      document.adoptedStyleSheets = [...document.adoptedStyleSheets, page];
      if (window.parent === window) return;
      const tell = () =>
        window.parent.postMessage({ type: "tidings-reels:height", height: Math.ceil(this.#root.host.scrollHeight) }, "*");
      new ResizeObserver(tell).observe(this.#grid);
    }

    async #begin() {
      this.#sight?.disconnect();
      this.#started = true;
      this.#cursor = null;
      this.#stop();
      this.#foot.replaceChildren();
      this.#note.replaceChildren();
      this.#showGhosts();
      await this.#load(true);
    }

    #showGhosts() {
      const ghost = () => make("li", { className: "reel ghost", "aria-hidden": "true" }, make("div", { className: "stage" }));
      this.#grid.replaceChildren(...Array.from({ length: this.#limit }, ghost));
      this.#status.textContent = this.#text.loading;
    }

    async #load(isFirst) {
      this.#request?.abort();
      const request = new AbortController();
      this.#request = request;
      this.setAttribute("aria-busy", "true");
      try {
        let reels = [];
        let cursor = this.#cursor;
        for (let pages = 0; pages <= EMPTY_PAGES_MAX && reels.length === 0; pages += 1) {
          const url = new URL(this.#feed);
          url.searchParams.set("limit", String(this.#limit));
          if (cursor) url.searchParams.set("after", cursor);
          const answer = await fetch(url, { signal: request.signal, credentials: "omit", headers: { accept: "application/json" } });
          if (!answer.ok) throw new Error(`the feed answered ${answer.status}`);
          const page = await answer.json();
          reels = Array.isArray(page.reels) ? page.reels : [];
          cursor = page.paging?.hasMore ? page.paging.nextCursor : null;
          if (!cursor) break;
        }
        this.#cursor = cursor;
        this.#show(reels, isFirst);
      } catch (error) {
        if (!request.signal.aborted) this.#fail(isFirst);
      } finally {
        if (this.#request === request) this.removeAttribute("aria-busy");
      }
    }

    #show(reels, isFirst) {
      const items = reels.map((reel) => this.#item(reel));
      if (isFirst) this.#grid.replaceChildren(...items);
      else this.#grid.append(...items);
      this.#note.replaceChildren();
      if (isFirst && items.length === 0) {
        this.#tell("film", this.#text.empty, this.#text.emptyHint);
        this.#status.textContent = this.#text.empty;
      } else {
        this.#status.textContent = isFirst ? "" : this.#text.added(items.length);
      }
      this.#foot.replaceChildren();
      if (this.#cursor) {
        const more = make("button", { className: "more", type: "button", textContent: this.#text.more });
        more.setAttribute("part", "more");
        more.addEventListener("click", () => this.#more(more));
        this.#foot.append(more);
      }
      if (!isFirst) items[0]?.querySelector(".tile")?.focus({ preventScroll: false });
      this.dispatchEvent(new CustomEvent("reelsload", { detail: { count: items.length, hasMore: this.#cursor !== null } }));
    }

    async #more(button) {
      if (button.getAttribute("aria-disabled") === "true") return;
      // Still focusable, so that the focus is not lost meanwhile.
      button.setAttribute("aria-disabled", "true");
      button.textContent = this.#text.loadingMore;
      await this.#load(false);
    }

    #fail(isFirst) {
      if (isFirst) this.#grid.replaceChildren();
      this.#foot.replaceChildren();
      const retry = make("button", { className: "more", type: "button", textContent: this.#text.retry });
      retry.addEventListener("click", () => (isFirst ? this.#begin() : this.#more(retry)));
      this.#note.replaceChildren();
      if (isFirst) this.#tell("film", this.#text.error, null, retry);
      else {
        this.#foot.append(retry);
        retry.focus();
      }
      this.#status.textContent = this.#text.error;
    }

    #tell(sign, title, hint, ...more) {
      const heading = make("p", { className: "title", textContent: title });
      const note = make("div", { className: "note" }, icon(sign), heading, hint ? make("p", { className: "hint", textContent: hint }) : null, ...more);
      note.setAttribute("part", "note");
      this.#note.replaceChildren(note);
    }

    #item(reel) {
      const text = this.#text;
      const name = spoken(reel.description) || text.untitled;
      const views = typeof reel.views === "number" ? this.#number(reel.views) : null;
      const poster = webAddress(reel.posterUrl, this.#feed);
      const video = webAddress(reel.videoUrl, this.#feed);
      const permalink = webAddress(reel.permalink, this.#feed);

      const image = make("img", { alt: "", loading: "lazy", decoding: "async", className: poster ? "" : "missing" });
      image.addEventListener("error", () => image.classList.add("missing"));
      if (poster) image.src = poster;
      const sign = make("span", { className: "sign", "aria-hidden": "true" }, icon(video ? "play" : "outside"));
      const count = views === null ? null : make("span", { className: "count", "aria-hidden": "true" }, icon("play"), views);
      const said = views === null ? name : `${name}, ${views} ${text.views}`;

      let tile;
      if (video) {
        tile = make("button", { className: "tile", type: "button", "aria-label": `${text.play}: ${said}` }, image, sign, count);
      } else if (permalink) {
        // Without a film, as for one that is flagged, there is still the original.
        const label = `${text.open}: ${said} (${text.opens})`;
        tile = make("a", { className: "tile", href: permalink, target: "_blank", rel: "noopener", "aria-label": label }, image, sign, count);
      } else {
        tile = make("div", { className: "tile", role: "img", "aria-label": said }, image, count);
      }
      const stage = make("div", { className: "stage" }, tile);
      if (video) tile.addEventListener("click", () => this.#play(stage, tile, { video, poster, permalink, name, id: reel.id }));

      const caption = make("p", { className: "caption", textContent: (reel.description || "").trim() || text.untitled });
      const words = make("div", { className: "caption-box" }, caption);
      if (typeof reel.likes === "number") {
        words.append(make("p", { className: "likes", textContent: `${this.#number(reel.likes)} ${text.likes}` }));
      }
      const below = make("div", { className: "below" }, words);
      if (permalink) {
        const label = `${text.open}: ${name} (${text.opens})`;
        const link = make("a", { className: "outside", href: permalink, target: "_blank", rel: "noopener", "aria-label": label }, icon("outside"));
        below.append(link);
      }
      const item = make("li", { className: "reel" }, stage, below);
      item.setAttribute("part", "reel");
      return item;
    }

    #play(stage, tile, reel) {
      this.#stop();
      const text = this.#text;
      const video = make("video", { controls: true, playsInline: true, loop: true, preload: "auto", "aria-label": reel.name });
      if (reel.poster) video.poster = reel.poster;
      video.src = reel.video;
      const close = make("button", { className: "close", type: "button", "aria-label": text.close }, icon("close"));
      stage.classList.add("playing");
      stage.replaceChildren(video, close);
      const end = (focus) => {
        video.pause();
        video.removeAttribute("src");
        video.load();
        stage.classList.remove("playing");
        stage.replaceChildren(tile);
        stage.removeEventListener("keydown", onKey);
        if (this.#playing === end) this.#playing = null;
        if (focus) tile.focus();
      };
      const onKey = (event) => {
        if (event.key === "Escape") {
          event.stopPropagation();
          end(true);
        }
      };
      stage.addEventListener("keydown", onKey);
      close.addEventListener("click", () => end(true));
      video.addEventListener("error", () => {
        if (this.#playing !== end) return;
        const fault = make("p", { className: "fault", role: "alert", textContent: text.broken });
        stage.replaceChildren(fault, close);
      });
      this.#playing = end;
      video.focus({ preventScroll: true });
      // The visitor has just asked for it; where it is refused all the same, the controls are there.
      video.play().catch(() => {});
      this.dispatchEvent(new CustomEvent("reelplay", { detail: { id: reel.id } }));
    }

    /** Only one plays at a time. */
    #stop() {
      this.#playing?.(false);
      this.#playing = null;
    }
  }

  customElements.define("tidings-reels", TidingsReels);
})();
