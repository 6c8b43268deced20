/**
 * The tracker, which decides whether an event may leave the browser, sends it, and never disturbs the page.
 * The rules are requirement 7.
 */
import type { AppName, EventFields, EventType } from "./events.js";
import { quietly } from "./quietly.js";
import { routeTemplate } from "./route.js";
import { claimSession, eventId, sessionId, utcDate } from "./session.js";
import { type Answer, type EventInput, fetchTransport, type GetToken, inTime, type Operation, sendError, type Token, type Transport } from "./transport.js";

/** The part of the current user that the tracker needs. `email` is compared with the internal list, and never sent. */
export interface SignalUser {
  /** Undefined means that it is not loaded yet; null means that there is none. */
  readonly email?: string | null | undefined;
}

/** The reason why an event was not sent, or the server's own reason, such as `unknown_event_type`. */
export type DropReason = "user_loading" | "no_user" | "internal_user" | "user_changed" | "expired" | "overflow" | (string & {});

interface CommonOptions {
  readonly appName: AppName;
  /** Returns the current user: undefined while loading, null if there is none. Nothing is sent in either case. */
  readonly getUser: () => SignalUser | null | undefined;
  /**
   * The e-mail addresses of internal people, whose events are not sent: a list or a comma-separated text, in upper or
   * lower case. The list is public, because it is in the app's bundle. If it is undefined or null, as a forgotten build
   * variable is, or if one of its entries is, nothing is sent, and the error `NoInternalEmails` is reported. An empty text
   * means that nobody is internal.
   */
  readonly internalEmails: string | readonly string[] | undefined;
  /** Returns the route template, such as Next.js' `router.pathname`. Ids in it are replaced before it is sent. */
  readonly getRoute?: (() => string | null | undefined) | undefined;
  /** Whether to collect events for up to two seconds and send them together. A hidden page sends them at once. */
  readonly batch?: boolean | undefined;
  /** Called for an event that was not stored, with the reason. By default, the server's refusals go to the console. */
  readonly onDrop?: ((eventType: string, reason: DropReason) => void) | undefined;
  /** Called for an event that could not be sent, with the error's name, never its text. By default, it is logged. */
  readonly onError?: ((eventType: string, errorName: string) => void) | undefined;
}

/** The options of a tracker, with an endpoint and a token, or a transport (such as `apolloTransport`). */
export type TrackerOptions = CommonOptions &
  (
    | { readonly endpoint: string; readonly getToken: GetToken; readonly transport?: undefined }
    | { readonly transport: Transport; readonly endpoint?: undefined; readonly getToken?: undefined }
  );

/** The event types that need neither entity nor description. */
type BareEventType = { [Type in EventType]: object extends EventFields[Type] ? Type : never }[EventType];
/** The arguments after the event type: `{ entity, description }`, as the catalogue says. */
export type Fields<Type extends EventType> = [Type] extends [BareEventType]
  ? [fields?: EventFields[Type]]
  : [fields: EventFields[Type]];

/** Records one event. It returns at once and never throws. */
export type Track = <Type extends EventType>(eventType: Type, ...fields: Fields<Type>) => void;

/** A tracker, made by `createTracker`. */
export interface Tracker {
  readonly track: Track;
  /** Sends the events of an unfinished batch now. */
  readonly flush: () => void;
}

/** What the hooks use. */
export interface HookTracker {
  readonly track: Track;
  readonly isLoading: () => boolean;
}

interface Pending {
  readonly input: EventInput;
  readonly date: string;
  /** Whose event it is. It stays in memory. */
  readonly email: string | null | undefined;
  /** The event type in a form that may be reported. */
  readonly type: string;
}

interface LooseFields {
  readonly entity?: { readonly type: string; readonly id: string } | undefined;
  readonly description?: object | undefined;
}

/**
 * Makes a tracker. Before the first event it makes no request and stores nothing; it only marks the session id that an
 * earlier page of this tab has left.
 */
export const createTracker = (options: TrackerOptions): Tracker => trackerOf(() => options);

/** Makes a tracker that asks for its options at each event. */
export function trackerOf(options: () => TrackerOptions): Tracker & HookTracker {
  let pending = 0;
  let queue: Pending[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  let asked: { readonly getToken: GetToken; readonly email: string; readonly token: Promise<Token> } | undefined;
  claimSession();

  const tell = (hear: ((eventType: string, what: string) => void) | undefined, type: string, what: string): void =>
    quietly(() => hear?.(type, what));
  const fail = (type: string, error: unknown): void =>
    tell(options().onError ?? warn, type, safe((error as { name?: unknown } | null)?.name, /^\w{1,40}$/, "Error"));

  /** Takes a step for an event, and returns whether it is done: a step that returns a reason drops the event. */
  const isDone = (type: string, step: () => DropReason | undefined): boolean => {
    try {
      const reason = step();
      if (reason) tell(options().onDrop, type, reason);
      return !reason;
    } catch (error) {
      fail(type, error);
      return false;
    }
  };

  const track = (eventType: string, fields: LooseFields = {}): void => {
    const type = plain(eventType);
    isDone(type, () => {
      const MAX_PENDING = 200;
      const BATCH_MS = 2_000;
      const refusal = refusalOf(options()) ?? (pending + queue.length < MAX_PENDING ? undefined : "overflow");
      if (refusal) return refusal;
      const date = utcDate();
      queue.push({ input: inputOf(eventType, fields, date), date, email: options().getUser()?.email, type });
      timer ??= setTimeout(flush, BATCH_MS);
      globalThis.document?.addEventListener("visibilitychange", flushIfDue);
      flushIfDue();
      return undefined;
    });
  };

  const inputOf = (eventType: string, { entity, description }: LooseFields, date: string): EventInput => ({
    eventType,
    appName: options().appName,
    // "none" is not a route, so nothing is sent for it.
    route: quietly(() => routeTemplate(options().getRoute?.() || "none")),
    entityType: entity?.type,
    entityId: entity?.id,
    sessionId: sessionId(date),
    // A copy, because the caller can change the description while the request waits.
    description: description && (JSON.parse(JSON.stringify(description)) as object),
    clientEventId: eventId(),
  });

  const flushIfDue = (): void => {
    const BATCH_EVENTS = 20;
    if (!options().batch || queue.length >= BATCH_EVENTS || globalThis.document?.visibilityState === "hidden") flush();
  };

  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    globalThis.document?.removeEventListener("visibilitychange", flushIfDue);
    const events = queue;
    queue = [];
    void deliver(events);
  };

  /** Sends events until they are answered, refused or given up. It never rejects. */
  const deliver = async (events: readonly Pending[]): Promise<void> => {
    const RETRIES = 3;
    const RETRY_AFTER_MS = 1_000;
    const total = events.length;
    pending += total;
    for (let attempt = 0; (events = events.filter(maySend))[0]; attempt++) {
      let failure: object | undefined;
      try {
        const { transport, endpoint, getToken } = options();
        const given = transport ? "" : tokenFrom(getToken, events[0].email);
        // There is no `await` before the request if the token is at hand.
        const token = typeof given === "string" ? given : await given;
        // The token can have taken long: the computer can have slept meanwhile.
        events = events.filter(maySend);
        failure = events[0] && (await attemptOf(events, transport ?? fetchTransport(endpoint, token)));
      } catch (error) {
        failure = Object(error) as object;
      }
      if (!failure) break;
      const heals = mayHeal(failure);
      if (!heals || attempt === RETRIES) {
        // One event of several can be the cause of a refusal, and the others are good.
        events.forEach((event) => (heals || !events[1] ? fail(event.type, failure) : void deliver([event])));
        break;
      }
      await pause(RETRY_AFTER_MS * 4 ** attempt);
    }
    pending -= total;
  };

  /** Returns a token. While it is awaited, later events of the same user wait for the same one. */
  const tokenFrom = (getToken: GetToken, email: string | null | undefined): string | Promise<Token> => {
    if (asked?.getToken === getToken && asked.email === email) return asked.token;
    const given = getToken();
    if (typeof given === "string") return given;
    const token = inTime(() => given);
    if (email) {
      asked = { getToken, email, token };
      const forget = (): void => (asked = undefined);
      token.then(forget, forget);
    }
    return token;
  };

  /** Returns whether an event may be sent now: it can have waited. */
  const maySend = ({ type, date, email }: Pending): boolean =>
    isDone(type, () => {
      // If it were stored on another UTC date, its session id would link the hashes of the two days.
      if (date !== utcDate()) return "expired";
      // Another user's token would make it that user's event.
      return refusalOf(options()) ?? (options().getUser()?.email === email ? undefined : "user_changed");
    });

  /** Makes one request, and returns what its answer says went wrong, if anything. */
  const attemptOf = async (events: readonly Pending[], transport: Transport): Promise<object | undefined> => {
    const operation = operationOf(events.map((event) => event.input));
    const answer = await inTime((signal) => transport(operation, signal));
    events.forEach(({ type }, at) => {
      const reason = reasonOf(answer, at);
      if (reason) tell(options().onDrop ?? warn, type, plain(reason));
    });
    return failureOf(answer);
  };

  // An error in `getUser` is not loading: `track` then reports it.
  const isLoading = (): boolean => quietly(() => refusalOf(options())) === "user_loading";

  return { track: track as Track, flush, isLoading };
}

function refusalOf({ getUser, internalEmails }: TrackerOptions): DropReason | undefined {
  const user = getUser();
  if (user === null) return "no_user";
  if (user?.email === undefined) return "user_loading"; // Nobody knows yet whether it is on the list.
  const listed = [internalEmails].flat().map(String).join().toLowerCase().split(/[\s,]+/);
  // What a forgotten variable is by itself, in an array, and in a text that was made from it.
  if (listed.includes("undefined") || listed.includes("null")) throw sendError("NoInternalEmails", 400);
  return user.email && listed.includes(user.email.trim().toLowerCase()) ? "internal_user" : undefined;
}

function operationOf(inputs: readonly EventInput[]): Operation {
  return inputs[1]
    ? { query: "mutation Signal($input: [EventCreateInput!]!) { eventCreateMany(input: $input) { id } }", variables: { input: inputs } }
    : { query: "mutation Signal($input: EventCreateInput!) { eventCreate(input: $input) { id } }", variables: { input: inputs[0]! } };
}

/** Returns what is wrong with an answer, if anything. */
function failureOf(answer: Answer | null): Error | undefined {
  const error = answer?.errors?.length && String(answer.errors[0]?.extensions?.code || "GraphQLError");
  const code = error || (answer?.data ? "" : "NoData");
  // Codes of the server and of gateways: SERVICE_UNAVAILABLE, INTERNAL_SERVER_ERROR, DOWNSTREAM_SERVICE_ERROR,
  // REQUEST_TIMEOUT.
  return code ? sendError(code, /UNAVAILABLE|INTERNAL|DOWNSTREAM|TIMEOUT/.test(code) ? 503 : 400) : undefined;
}

/** Returns the server's reason for dropping an event of an answer, if any. A gateway can leave this out. */
const reasonOf = (answer: Answer | null, at: number): unknown =>
  (answer?.extensions as { signal?: { events?: ({ reason?: unknown } | null)[] } } | undefined)?.signal?.events?.[at]?.reason;

function mayHeal(failure: object): boolean {
  const { name, statusCode = name === "SyntaxError" ? 400 : 500 } = failure as { name?: string; statusCode?: number };
  // The body came too slowly (408), the connection was too new (425), or there were too many requests (429).
  return statusCode >= 500 || statusCode === 408 || statusCode === 425 || statusCode === 429;
}

/** Waits, and then waits on until the browser is online. */
async function pause(milliseconds: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, milliseconds * (0.75 + Math.random() / 2)));
  if (globalThis.navigator?.onLine === false) {
    await new Promise((resolve) => globalThis.addEventListener("online", resolve, { once: true }));
  }
}

/** Returns a name that is safe to log. Anything else becomes `(other)`. */
const plain = (name: unknown): string => safe(name, /^[a-z0-9_]{1,64}$/, "(other)");

const safe = (name: unknown, form: RegExp, other: string): string =>
  typeof name === "string" && form.test(name) ? name : other;

/** Logs in the console what became of an event. */
export const warn = (eventType: string, what: string): void => console.warn(`signal: ${eventType}: ${what}`);
