/**
 * The session id: one per browser tab and UTC date (requirement 7.3).
 *
 * A tab that is opened by script, or duplicated, starts with a copy of its opener's `sessionStorage`. So the stored id is
 * marked as long as a document uses it: a document that finds it marked is in another tab, and makes its own. A reload or
 * navigation unmarks it first. After a crash the mark stays, and the restored tab counts as a new session.
 */

const KEY = "signal.sessionId";
/** A UUID of a version: the nil and the max UUID have none, and the server drops events that carry one. */
const ID = /^[\w-]{14}[1-8][\w-]{21}$/;

interface Session {
  readonly id: string;
  readonly date: string;
  readonly open?: boolean;
}

interface Holder {
  session?: Session;
}

/** One holder per document, also where an app ends up with two copies of this module. */
const HOLDER = Symbol.for("signal.session");
const page = globalThis as unknown as { [HOLDER]?: Holder };

/** Today's UTC date, `YYYY-MM-DD`. */
export const utcDate = (): string => new Date().toISOString().slice(0, 10);

/** A random UUID, also on plain-http hosts, where `crypto.randomUUID` is missing. */
export const uuid = (): string =>
  crypto.randomUUID?.() ??
  // Each 0 becomes a random digit, the 8 the variant, 8 to b.
  "00000000-0000-4000-8000-000000000000".replace(/[08]/g, (place) =>
    (+place | (crypto.getRandomValues(new Uint8Array(1))[0]! & (+place ? 3 : 15))).toString(16),
  );

/** A UUID of version 7, for an event: it begins with its time, so that the server's index of ids grows at one end. */
export const eventId = (): string =>
  // 2^48 gives its hex digits a leading 1, whatever the clock says.
  (Date.now() + 2 ** 48).toString(16).replace(/.(.{8})/, "$1-") + "-7" + uuid().slice(15);

/** This tab's session id for today; made at the first call, and anew when the UTC date has changed. */
export function sessionId(): string {
  const holder = (page[HOLDER] ??= newHolder());
  const date = utcDate();
  if (holder.session?.date !== date) {
    const stored = holder.session ? undefined : read();
    const id = stored?.date === date && !stored.open ? stored.id : uuid();
    holder.session = { id, date };
    write({ id, date, open: true });
  }
  return holder.session.id;
}

function newHolder(): Holder {
  const holder: Holder = {};
  globalThis.addEventListener?.("pagehide", () => holder.session && write(holder.session));
  globalThis.addEventListener?.("pageshow", (event) => {
    // Back from the browser's cache: another page of this tab may have gone on since.
    if ((event as PageTransitionEvent).persisted) delete holder.session;
  });
  return holder;
}

function read(): Session | undefined {
  try {
    const stored = JSON.parse(sessionStorage.getItem(KEY) ?? "null") as Session | null;
    return typeof stored?.id === "string" && ID.test(stored.id) ? stored : undefined;
  } catch {
    return undefined; // Storage is blocked, or holds something else.
  }
}

function write(session: Session): void {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(session));
  } catch {
    // Blocked or full: the id lives as long as this document.
  }
}
