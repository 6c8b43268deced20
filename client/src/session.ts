/**
 * The session id: one per browser tab and UTC date (requirement 7.3).
 *
 * A tab that a script opens, or that is duplicated, starts with a copy of its opener's `sessionStorage`. The stored id
 * is therefore marked as long as a document uses it, from the time that the document has a tracker. A document that finds
 * the mark is in another tab, or in a frame of this one, and makes an id of its own. A reload or navigation removes the
 * mark first. After a crash the mark stays, and the restored tab counts as a new session.
 */

import { quietly } from "./quietly.js";

const KEY = "signal.sessionId";

interface Session {
  readonly id: string;
  readonly date: string;
  readonly open?: boolean;
}

interface Holder {
  session?: Session | undefined;
  /** False while the page is being left: the stored id then has no mark, even if it is made only now. */
  open: boolean;
}

/** The key of the one holder per document, even if an app ends up with two copies of this module. */
const HOLDER = Symbol.for("signal.session");
const page = globalThis as unknown as { [HOLDER]?: Holder };

/** Returns today's UTC date, `YYYY-MM-DD`. */
export const utcDate = (): string => new Date().toISOString().slice(0, 10);

/** Returns a random UUID, also on plain-http hosts, where `crypto.randomUUID` is missing. */
export const uuid = (): string =>
  // Each 0 becomes a random digit, and the 8 becomes the variant, from 8 to b.
  "00000000-0000-4000-8000-000000000000".replace(/[08]/g, (place) =>
    (+place | (crypto.getRandomValues(new Uint8Array(1))[0]! & (+place ? 3 : 15))).toString(16),
  );

/** Returns a UUID of version 7 for an event. It begins with the time, so that the server's index grows at one end. */
export const eventId = (): string =>
  // Adding 2^48 gives the hex digits a leading 1, whatever the clock says.
  (Date.now() + 2 ** 48).toString(16).replace(/.(.{8})/, "$1-") + "-7" + uuid().slice(15);

/** Returns this tab's session id for a UTC date, by default today. It is made at the first call of each date. */
export function sessionId(date = utcDate()): string {
  const holder = claimSession();
  if (holder.session?.date !== date) hold(holder, { id: uuid(), date });
  return holder.session!.id;
}

/** Takes the id of today that an earlier page of this tab has left, so that a copy of the tab finds the mark. */
export function claimSession(): Holder {
  const holder = (page[HOLDER] ??= newHolder());
  if (!holder.session) {
    // Storage can be blocked, or hold something else.
    const stored = quietly(() => JSON.parse(sessionStorage.getItem(KEY)!) as Session | null);
    // The version tells a UUID from the nil and the max UUID: the server drops events that carry either.
    if (stored?.date === utcDate() && !stored.open && /^[\w-]{14}[1-8][\w-]{21}$/.test(stored.id)) hold(holder, stored);
  }
  return holder;
}

function newHolder(): Holder {
  const holder: Holder = { open: true };
  globalThis.addEventListener?.("pagehide", () => {
    holder.open = false;
    hold(holder);
  });
  globalThis.addEventListener?.("pageshow", (event) => {
    holder.open = true;
    // The page is back from the browser's cache. Another page of this tab can have continued the session since.
    if ((event as PageTransitionEvent).persisted) holder.session = undefined;
    claimSession();
  });
  return holder;
}

/** Stores the id, if there is one. If storage is blocked or full, the id lives only as long as this document. */
function hold(holder: Holder, session = holder.session): void {
  holder.session = session;
  if (session) quietly(() => sessionStorage.setItem(KEY, JSON.stringify({ ...session, open: holder.open })));
}
